//! The bridge from Node to the kernel's BPF: descriptors and calls, no policy.
//!
//! Nothing here is meant to be called by anything but `binding.ts`, which gives the errors and the types their shape.

mod error;
mod handle;
mod hook;
mod link;
mod map;
mod netlink;
mod netns;
mod object;
mod program;
mod ring;
mod system;
