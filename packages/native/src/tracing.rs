//! Programs that watch: at tracepoints, and at functions of the kernel and of binaries.

use std::mem::zeroed;
use std::os::fd::{AsRawFd, OwnedFd};

use libbpf_sys as sys;

use crate::error::{Failure, Res, check};
use crate::handle::{c_string, own};
use crate::hook::Hook;

fn tracepoint_name<'a>(hook: &'a Hook, object: &str) -> Res<&'a str> {
    hook.tracepoint.as_deref().ok_or_else(|| Failure::invalid("attach", object, "no name of a tracepoint"))
}

pub fn attach_raw_tracepoint(program: &OwnedFd, hook: &Hook, object: &str) -> Res<OwnedFd> {
    let name = c_string(tracepoint_name(hook, object)?, "attach", object)?;
    // SAFETY: the name is NUL-terminated, the descriptor is held for the call.
    own(unsafe { sys::bpf_raw_tracepoint_open(name.as_ptr(), program.as_raw_fd()) }, "attach", object)
}

/// `category/name`, through a perf event that the link keeps.
pub fn attach_tracepoint(program: &OwnedFd, hook: &Hook, object: &str) -> Res<OwnedFd> {
    let name = tracepoint_name(hook, object)?;
    if name.split('/').any(|part| part.is_empty() || part.starts_with('.')) || name.split('/').count() != 2 {
        return Err(Failure::invalid("attach", object, "a tracepoint is written category/name"));
    }
    let id = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"]
        .iter()
        .find_map(|root| std::fs::read_to_string(format!("{root}/events/{name}/id")).ok())
        .and_then(|text| text.trim().parse::<u64>().ok())
        .ok_or_else(|| Failure::new("attach", object, libc::ENOENT))?;
    // SAFETY: a plain C struct; zero is the value of every unused field.
    let mut attr: sys::perf_event_attr = unsafe { zeroed() };
    attr.type_ = sys::PERF_TYPE_TRACEPOINT;
    attr.config = id;
    attr.__bindgen_anon_1.sample_period = 1;
    attach_to_event(program, open_perf_event(attr, object)?, object)
}

/// A function of the kernel or of a binary, through a perf event of the dynamic unit of that name.
pub fn attach_probe(program: &OwnedFd, hook: &Hook, object: &str) -> Res<OwnedFd> {
    let unit = format!("/sys/bus/event_source/devices/{}", hook.kind);
    let number = |file: &str| std::fs::read_to_string(format!("{unit}/{file}")).ok();
    let kind = number("type").and_then(|text| text.trim().parse().ok());
    let Some(kind) = kind else { return Err(Failure::new("attach", object, libc::EOPNOTSUPP)) };
    let place = c_string(tracepoint_name(hook, object)?, "attach", object)?;
    // SAFETY: a plain C struct; zero is the value of every unused field.
    let mut attr: sys::perf_event_attr = unsafe { zeroed() };
    attr.type_ = kind;
    if hook.is_return == Some(true) {
        let bit = number("format/retprobe").and_then(|text| text.trim().strip_prefix("config:")?.parse::<u32>().ok());
        attr.config |= 1u64 << bit.unwrap_or(0);
    }
    attr.__bindgen_anon_3.config1 = place.as_ptr() as u64;
    attr.__bindgen_anon_4.config2 = hook.offset.as_ref().map_or(0, |offset| offset.get_u64().1);
    let event = open_perf_event(attr, object)?;
    attach_to_event(program, event, object)
}

fn attach_to_event(program: &OwnedFd, event: OwnedFd, object: &str) -> Res<OwnedFd> {
    // SAFETY: a plain C struct; zero is the value of every unused field.
    let mut opts: sys::bpf_link_create_opts = unsafe { zeroed() };
    opts.sz = size_of_val(&opts) as sys::size_t;
    // SAFETY: both descriptors are held for the call.
    let ret = unsafe { sys::bpf_link_create(program.as_raw_fd(), event.as_raw_fd(), sys::BPF_PERF_EVENT, &opts) };
    let link = own(ret, "attach", object)?;
    // SAFETY: plain system call; PERF_EVENT_IOC_ENABLE takes no pointer.
    check(unsafe { libc::ioctl(event.as_raw_fd(), PERF_EVENT_IOC_ENABLE, 0) }, "enable", object)?;
    Ok(link)
}

const PERF_EVENT_IOC_ENABLE: libc::c_ulong = 0x2400;
const PERF_FLAG_FD_CLOEXEC: libc::c_ulong = 8;

fn open_perf_event(mut attr: sys::perf_event_attr, object: &str) -> Res<OwnedFd> {
    attr.size = size_of_val(&attr) as u32;
    // Any CPU's event serves: a program on a tracepoint runs on all of them.
    let (process, cpu, group) = (-1, 0, -1);
    // SAFETY: `attr` outlives the call.
    let ret = unsafe { libc::syscall(libc::SYS_perf_event_open, &raw const attr, process, cpu, group, PERF_FLAG_FD_CLOEXEC) };
    own(ret as i32, "open perf event for", object)
}
