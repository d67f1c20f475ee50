-- Findings that an operator has called none: one guard, one text by its keyed hash.
create table guard_exception (
    guard  text not null,
    digest text not null, -- HMAC-SHA-256 in hex
    reason text not null,
    by     text not null,
    at     integer not null, -- Unix seconds
    primary key (guard, digest)
) strict, without rowid;
