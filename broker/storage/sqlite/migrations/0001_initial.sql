pragma application_id=0x62726b72; -- "brkr": this file is a broker's

-- The log. `audit_rec.id` is (log << 40) | seq: one B-tree keeps each log in order, and the indexes end with it.
create table audit_log (
    id     integer primary key,
    name   text not null unique,
    origin text not null unique
) strict;

create table audit_rec (
    id    integer primary key,
    ts    integer not null, -- Unix microseconds
    type  text not null,
    call  text,
    agent text,
    leaf  blob not null, -- RFC 9162 leaf hash of body
    body  blob not null  -- the hashed bytes
) strict;
create index audit_rec_call on audit_rec (call) where call is not null;
create index audit_rec_agent on audit_rec (agent) where agent is not null;

create table audit_head (
    log      integer primary key references audit_log (id),
    size     integer not null,
    ts       integer not null, -- of the last record
    frontier blob not null,    -- concatenated hashes of perfect subtrees, largest first
    root     blob not null
) strict;

create table audit_ckpt (
    log  integer not null references audit_log (id),
    size integer not null,
    note text not null, -- C2SP signed note
    primary key (log, size)
) strict, without rowid;

-- The ledger. A call is open from its intent to its end.
create table budget (
    account text primary key,  -- scope, window and unit; also what is counted otherwise
    spent   integer not null,  -- in the account's unit: micro-USD, calls or tokens
    held    integer not null,
    level   integer not null   -- the highest percentage that was warned of
) strict, without rowid;

create table budget_override (
    scope  text not null,
    window text not null,
    unit   text not null,
    cap    integer not null,
    until  integer not null, -- Unix seconds
    reason text not null,
    by     text not null,
    primary key (scope, window, unit)
) strict, without rowid;

create table open_call (
    call   text primary key,
    log    text not null,
    agent  text,
    node   text not null, -- the process that opened it
    held   integer not null, -- micro-USD
    parts  text not null  -- JSON array of [account, unit, amount] that hold it
) strict, without rowid;

-- Agents and keys.
create table agent (
    id           text primary key,
    organisation text not null,
    roles        text not null, -- JSON array
    team         text,
    status       text not null,
    cap          integer, -- micro-USD
    owner        text,
    created_at   integer not null, -- Unix seconds
    purpose      text,
    model        text,
    model_version text,
    attributes   text not null,    -- JSON object of texts
    changed_at   integer not null, -- Unix seconds
    attestation  text not null,
    manifest     text,    -- JSON object
    attested_until integer, -- Unix seconds; while attestation is A2
    drift        text     -- how it was seen to differ from its manifest
) strict, without rowid;

create table agent_seen ( -- apart from the agent: what is written often must not move its number
    agent text primary key,
    at    integer not null -- Unix seconds of a call it made, within a minute of the last
) strict, without rowid;

create table agent_secret (
    agent      text not null references agent (id),
    digest     blob not null, -- SHA-256
    created_at integer not null,
    not_after  integer,
    primary key (agent, digest)
) strict, without rowid;

create table agent_key ( -- public keys that an agent signs its client assertions with
    agent      text not null references agent (id),
    kid        text not null, -- RFC 7638 thumbprint
    jwk        text not null,
    created_at integer not null,
    primary key (agent, kid)
) strict, without rowid;

create table used_once ( -- ids of assertions and proofs that must not be taken a second time
    id         blob primary key, -- SHA-256 of who uses it and its jti
    expires_at integer not null
) strict, without rowid;
create index used_once_expires on used_once (expires_at);

create table revoked_token (
    jti        text primary key,
    expires_at integer not null
) strict, without rowid;

create table broker_key (
    kid        text primary key,
    use        text not null,
    material   text not null,
    created_at integer not null,
    state      text not null, -- next, active, retiring
    not_after  integer
) strict, without rowid;

-- People who run the broker. An operator is never deleted: the log names them.
create table operator (
    id         text primary key,
    rights     text not null, -- JSON array
    created_at integer not null,
    expires_at integer not null, -- of the token
    revoked_at integer,
    digest     blob not null  -- SHA-256 of the token
) strict, without rowid;

-- Grants: each row is one hop of a delegation. A revoked hop ends everything below it.
create table delegation (
    id           text primary key,
    parent       text references delegation (id),
    organisation text not null,
    subject      text not null,
    by_agent     text not null,
    to_agent     text not null,
    depth        integer not null,
    max_depth    integer not null,
    txn          text not null,
    expires_at   integer not null, -- Unix seconds
    created_at   integer not null, -- Unix seconds
    task         text,
    purpose      text,
    call         text,    -- worth nothing after this call has ended
    limits       text,    -- JSON array of [pattern, conditions by argument]
    cap          integer, -- micro-USD
    max_calls    integer,
    revoked_at   integer  -- Unix seconds
) strict, without rowid;
create index delegation_parent on delegation (parent) where parent is not null;
create index delegation_root on delegation (txn) where parent is null;

-- Questions to humans.
create table approval (
    id         text primary key,
    agent      text not null,
    state      text not null,
    reach      text not null,
    expires_at integer not null, -- Unix seconds at which the state ends
    for_call   blob not null,    -- keyed hashes of what it is for
    for_chain  blob not null,
    for_agent  blob not null,
    facts      text not null,    -- JSON object: the question, and what was said to it
    sealed     text              -- AES-256-GCM of the final parameters, while it is pending
) strict, without rowid;
create unique index approval_call on approval (for_call) where state in ('pending', 'approved');
create index approval_agent on approval (agent, state);
create index approval_ends on approval (state, expires_at);

-- Grows with every change of an agent, whoever makes it, so that every process sees it at once.
create table agent_version (
    id      integer primary key check (id = 1),
    version integer not null
) strict;
insert into agent_version values (1, 1);
create trigger agent_added after insert on agent begin
    update agent_version set version = version + 1;
end;
create trigger agent_changed after update on agent begin
    update agent_version set version = version + 1;
end;
create trigger agent_removed after delete on agent begin
    update agent_version set version = version + 1;
end;
create trigger secret_added after insert on agent_secret begin
    update agent_version set version = version + 1;
end;
create trigger secret_changed after update on agent_secret begin
    update agent_version set version = version + 1;
end;
create trigger secret_removed after delete on agent_secret begin
    update agent_version set version = version + 1;
end;
create trigger key_added after insert on agent_key begin
    update agent_version set version = version + 1;
end;
create trigger key_removed after delete on agent_key begin
    update agent_version set version = version + 1;
end;
create trigger token_revoked after insert on revoked_token begin
    update agent_version set version = version + 1;
end;
create trigger delegation_revoked after update of revoked_at on delegation begin
    update agent_version set version = version + 1;
end;

-- Transactions: what each has read and done. A transaction's id is that of the token that began it; other
-- tokens and tasks that belong to it have a name.
create table flow (
    id      text primary key,
    version integer not null, -- grows with every change
    reading text not null,    -- who changed it last: other readings of it are out of date
    at      integer not null, -- Unix seconds, of its last call
    tally   text not null     -- JSON
) strict;
create index flow_at on flow (at);
create table flow_name (
    name text primary key,
    flow text not null
) strict, without rowid;
create index flow_name_flow on flow_name (flow);
create table flow_mark (
    flow   text not null,
    digest blob not null,    -- keyed hash of a value
    mark   integer not null, -- 0 task, 1 trusted, 2 untrusted, 9 counted
    primary key (flow, digest)
) strict, without rowid;
