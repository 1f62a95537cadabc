//! Programs at tc as filters of the clsact qdisc, where a kernel has no TCX.

use std::mem::zeroed;
use std::os::fd::AsRawFd;

use libbpf_sys as sys;
use napi::bindgen_prelude::AsyncTask;
use napi_derive::napi;

use crate::error::{Failure, Res, check};
use crate::handle::{Handle, Job, job};
use crate::netns::{descriptor, within};

/// A filter of the cls_bpf classifier in direct-action mode.
#[napi(object)]
#[derive(Clone)]
pub struct ClsBpf {
    pub ifindex: i32,
    pub is_egress: bool,
    pub handle: u32,
    pub priority: u32,
}

impl ClsBpf {
    fn name(&self) -> String {
        let direction = if self.is_egress { "egress" } else { "ingress" };
        format!("cls_bpf {direction} of ifindex {}, priority {}, handle {}", self.ifindex, self.priority, self.handle)
    }

    fn hook(&self) -> sys::bpf_tc_hook {
        // SAFETY: a plain C struct; zero is the value of every unused field.
        let mut hook: sys::bpf_tc_hook = unsafe { zeroed() };
        hook.sz = size_of_val(&hook) as sys::size_t;
        hook.ifindex = self.ifindex;
        hook.attach_point = if self.is_egress { sys::BPF_TC_EGRESS } else { sys::BPF_TC_INGRESS };
        hook
    }

    fn opts(&self) -> sys::bpf_tc_opts {
        // SAFETY: a plain C struct; zero is the value of every unused field.
        let mut opts: sys::bpf_tc_opts = unsafe { zeroed() };
        opts.sz = size_of_val(&opts) as sys::size_t;
        opts.handle = self.handle;
        opts.priority = self.priority;
        opts
    }
}

#[napi(object)]
pub struct ClsBpfState {
    pub handle: u32,
    pub priority: u32,
    pub program_id: u32,
}

impl ClsBpfState {
    fn of(opts: &sys::bpf_tc_opts) -> Self {
        ClsBpfState { handle: opts.handle, priority: opts.priority, program_id: opts.prog_id }
    }
}

/// Adds a filter, and the clsact qdisc if there is none; `replace` swaps the program of an existing one in place.
#[napi]
pub fn attach_cls_bpf(
    program: &Handle,
    at: ClsBpf,
    replace: bool,
    netns: Option<&Handle>,
) -> napi::Result<AsyncTask<Job<ClsBpfState>>> {
    let object = format!("program to {}", at.name());
    let program = program.get("attach", &object)?;
    let netns = descriptor(netns)?;
    Ok(job(move || {
        within(netns, || {
            let mut hook = at.hook();
            // SAFETY: `hook` is a filled struct of libbpf's.
            let ret = unsafe { crate::error::printed(|| sys::bpf_tc_hook_create(&mut hook)).0 };
            if ret != -libc::EEXIST {
                check(ret, "create", format!("clsact qdisc for {}", at.name()))?;
            }
            let mut opts = at.opts();
            opts.prog_fd = program.as_raw_fd();
            opts.flags = if replace { sys::BPF_TC_F_REPLACE } else { 0 };
            // SAFETY: both are filled structs of libbpf's; the descriptor is held for the call.
            let (ret, said) = crate::error::printed(|| unsafe { sys::bpf_tc_attach(&hook, &mut opts) });
            check(ret, "attach", &object).map_err(|failure| Failure { warnings: said.warnings, ..failure })?;
            Ok(ClsBpfState::of(&opts))
        })
    }))
}

/// False when there was no such filter.
#[napi]
pub fn detach_cls_bpf(at: ClsBpf, netns: Option<&Handle>) -> napi::Result<AsyncTask<Job<bool>>> {
    let netns = descriptor(netns)?;
    Ok(job(move || {
        within(netns, || {
            let (hook, opts) = (at.hook(), at.opts());
            // SAFETY: both are filled structs of libbpf's.
            let ret = crate::error::printed(|| unsafe { sys::bpf_tc_detach(&hook, &opts) }).0;
            found(ret, "detach", &at)
        })
    }))
}

/// Null when there is no such filter.
#[napi]
pub fn query_cls_bpf(at: ClsBpf, netns: Option<&Handle>) -> napi::Result<AsyncTask<Job<Option<ClsBpfState>>>> {
    let netns = descriptor(netns)?;
    Ok(job(move || {
        within(netns, || {
            let (hook, mut opts) = (at.hook(), at.opts());
            // SAFETY: both are filled structs of libbpf's.
            let ret = crate::error::printed(|| unsafe { sys::bpf_tc_query(&hook, &mut opts) }).0;
            Ok(found(ret, "query", &at)?.then(|| ClsBpfState::of(&opts)))
        })
    }))
}

/// The kernel answers ENOENT without the filter, EINVAL without the qdisc.
fn found(ret: i32, op: &'static str, at: &ClsBpf) -> Res<bool> {
    if ret == -libc::ENOENT || ret == -libc::EINVAL {
        return Ok(false);
    }
    check(ret, op, at.name()).map(|_| true)
}
