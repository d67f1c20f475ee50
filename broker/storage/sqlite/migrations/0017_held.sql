-- What is held is written once, with the call that holds it (open_call.parts), and summed from there.
alter table budget drop column held;
