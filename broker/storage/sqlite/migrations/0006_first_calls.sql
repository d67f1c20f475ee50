-- The first call under each idempotency key: it is not made a second time.
create table first_call (
    id          blob not null unique, -- keyed hash of who sent which key
    agent       text not null,
    call        text not null,
    fingerprint blob not null,    -- keyed hash of target and parameters
    state       text not null,    -- open, done, lost
    sealed      text,             -- the answer, encrypted; null: none, or too large to keep
    bytes       integer not null, -- of sealed
    expires_at  integer not null  -- Unix seconds
) strict;
create index first_call_call on first_call (call);
create index first_call_agent on first_call (agent, bytes);
create index first_call_expires on first_call (expires_at);
