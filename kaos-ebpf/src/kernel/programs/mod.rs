//! The programs, by what they are attached to. Entries are thin; what they do is in the
//! modules beside this one.

mod cgroup;
mod python;
mod sched;
mod sock;
mod tcp;
mod tls;
