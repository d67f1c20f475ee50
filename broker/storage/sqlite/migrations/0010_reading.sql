-- What reading the log needs beside it. All of it can be made again from the records; nothing of it is believed
-- where something is proven.

create table audit_call ( -- one row for each call that has ended, made with the record that ended it
    id      integer primary key, -- that record's
    begun   integer not null,    -- the id of its first record: the intent, or the same where it was refused
    agent   text,
    name    text,                -- of the tool, as the caller named it
    outcome text not null,
    cost    integer not null     -- micro-USD
) strict;

-- The same by what lists are filtered by, and below by transaction. Rows come here some thousands at a time: one at
-- a time would write a page each. `audit_listed` says up to which record of a log they have.
create table audit_call_agent (
    agent   text not null,
    outcome text not null,
    id      integer not null,
    name    text,
    cost    integer not null,
    primary key (agent, outcome, id)
) strict, without rowid;

create table audit_call_name (
    name    text not null,
    outcome text not null,
    id      integer not null,
    agent   text,
    cost    integer not null,
    primary key (name, outcome, id)
) strict, without rowid;

create table audit_call_outcome (
    outcome text not null,
    id      integer not null,
    cost    integer not null,
    primary key (outcome, id)
) strict, without rowid;

create table audit_listed (
    log integer primary key references audit_log (id),
    id  integer not null
) strict;

create table audit_begun ( -- what is not in `audit_task` yet
    id   integer primary key,
    task text,
    made integer not null, -- 1: a delegation
    root text,             -- the call at the top, where it is not the call itself
    named text             -- the task that a delegation names
) strict;

create table audit_task ( -- what began in a transaction: calls, and delegations, also by the task they name
    task text not null,
    made integer not null, -- 1: a delegation
    id   integer not null,
    root text,
    primary key (task, made, id)
) strict, without rowid;

create table audit_tile ( -- C2SP tlog-tiles: 256 hashes each; above level 0 the last one is shorter
    log    integer not null references audit_log (id),
    level  integer not null,
    n      integer not null,
    hashes blob not null,
    primary key (log, level, n)
) strict;

create temp table begun as
    select id, call, agent, type, json(cast(body as text)) as body from audit_rec
    where type in ('call.intent', 'call.denied', 'delegation.created') and json_valid(cast(body as text));

insert into audit_call
    select id, id, agent, json_extract(body, '$.what.name'), ifnull(json_extract(body, '$.outcome'), 'unknown'), 0
    from begun where type = 'call.denied';
insert into audit_call
    select e.id, b.id, e.agent, json_extract(b.body, '$.what.name'),
        ifnull(json_extract(cast(e.body as text), '$.outcome'), 'unknown'),
        ifnull(json_extract(cast(e.body as text), '$.cost'), 0)
    from audit_rec e join begun b on b.call = e.call and b.type = 'call.intent'
    where e.type in ('call.outcome', 'call.outcome_unknown') and json_valid(cast(e.body as text));

insert or ignore into audit_task
    select json_extract(body, '$.cause.task'), type = 'delegation.created', id,
        nullif(json_extract(body, '$.cause.root'), call)
    from begun where json_extract(body, '$.cause.task') is not null;
insert or ignore into audit_task
    select json_extract(body, '$.task'), 1, id, null from begun
    where type = 'delegation.created' and json_extract(body, '$.task') is not null;
drop table begun;

insert into audit_call_agent
    select agent, outcome, id, name, cost from audit_call where agent is not null order by 1, 2, 3;
insert into audit_call_name
    select name, outcome, id, agent, cost from audit_call where name is not null order by 1, 2, 3;
insert into audit_call_outcome select outcome, id, cost from audit_call order by 1, 2;
insert into audit_listed select id >> 40, max(id) from audit_rec group by 1;
