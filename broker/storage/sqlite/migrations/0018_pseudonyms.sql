-- What stands for values that an agent does not see. Nothing here can be read without the keys in `keys.db`.
create table pseudonym_scope (
    id         integer primary key,
    handle     blob not null unique, -- keyed hash of organisation, subject and transaction
    counts     text not null,        -- JSON: the highest number of each kind; none is given twice
    expires_at integer not null,     -- Unix seconds: the values are gone
    forget_at  integer not null      -- Unix seconds: the numbers are, too
) strict;
create index pseudonym_scope_expires on pseudonym_scope (expires_at);

create table pseudonym (
    scope   integer not null,
    name    text not null, -- EMAIL_1
    handle  blob not null, -- keyed hash of scope, kind and value: the same value has the same name
    log     text not null,
    day     integer not null, -- days since 1970 whose key it needs
    guard   text not null,
    type    text not null,
    sealed  blob not null, -- wrapped key, then AES-256-GCM of salt and value
    primary key (scope, name)
) strict, without rowid;
create unique index pseudonym_handle on pseudonym (scope, handle);

-- The agents that have been shown it: nobody else can have it restored.
create table pseudonym_holder (
    scope integer not null,
    name  text not null,
    agent text not null,
    primary key (scope, name, agent)
) strict, without rowid;

create table pseudonym_subject (
    scope   integer not null,
    name    text not null,
    subject text not null,
    primary key (scope, name, subject)
) strict, without rowid;
create index pseudonym_subject_subject on pseudonym_subject (subject);
