//! The bridge from Node to the kernel's BPF: descriptors and calls, no policy.
//!
//! Nothing here is meant to be called by anything but `binding.ts`, which gives the errors and the types their shape.

// A failure carries all that the kernel and libbpf said; it is made once, when nothing is fast any more.
#![allow(clippy::result_large_err)]

mod cls_bpf;
mod error;
mod handle;
mod hook;
mod link;
mod map;
mod map_batch;
mod map_memory;
mod netlink;
mod netns;
mod object;
mod object_code;
mod object_globals;
mod object_open;
mod program;
mod ring;
mod system;
mod tracing;
