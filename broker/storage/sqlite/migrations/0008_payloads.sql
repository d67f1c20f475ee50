-- What was said in calls, encrypted. The keys are in another file, `keys.db`.
create table payload (
    id     integer primary key, -- of the record in audit_rec that commits to it
    day    integer not null,    -- days since 1970 whose key it needs
    kept   integer not null,    -- 0: only the salt
    sealed blob not null        -- wrapped key, then AES-256-GCM of salt and content
) strict;

-- People. Nothing here can be read without their keys.
create table subject (
    id         text primary key, -- random: ps_...
    log        text not null,    -- whose they are: the same person elsewhere is another subject
    handle     blob not null,    -- keyed hash of what names them
    identity   blob,             -- what names them, encrypted under their key; null: only a guard has seen it
    created_at integer not null  -- Unix seconds
) strict, without rowid;
create unique index subject_handle on subject (log, handle);

create table payload_subject (
    payload integer not null,
    subject text not null,
    primary key (payload, subject)
) strict, without rowid;
create index payload_subject_subject on payload_subject (subject);
