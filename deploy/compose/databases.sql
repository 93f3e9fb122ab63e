-- A database per instance; run once, by the first start of the Postgres container.
create database student;
create database tutor;
