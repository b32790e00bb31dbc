mod support;

mod bounds;
mod changes;
mod damage;
mod fixtures;
