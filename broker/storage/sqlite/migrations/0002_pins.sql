-- Tool definitions: what was approved under a name, and what is offered instead and waits.
create table pin (
    connector      text not null,
    tool           text not null,
    exposed        text not null,
    approved       text, -- JSON object
    digest         text not null, -- SHA-256 in hex, "" where nothing was approved
    approved_by    text not null,
    offered        text, -- JSON object
    offered_digest text not null,
    because        text not null,
    primary key (connector, tool)
) strict, without rowid;

create table pin_version ( -- grows with every change of a pin, so that every process sees it
    id      integer primary key check (id = 1),
    version integer not null
) strict;
insert into pin_version values (1, 1);
