create table audit_feed ( -- how far what is continuously exported was delivered
    feed text not null,
    log  text not null,
    next integer not null, -- number of the first record that was not
    primary key (feed, log)
) strict, without rowid;
