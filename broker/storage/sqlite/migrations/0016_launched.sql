-- A secret that was made for one launch of an agent by the broker: which. Null: a secret that stands.
alter table agent_secret add column launch text;
