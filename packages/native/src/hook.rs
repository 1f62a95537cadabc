//! Hooks: put a program on one, and see what is there.

use std::mem::zeroed;
use std::os::fd::{AsRawFd, OwnedFd};

use libbpf_sys as sys;
use napi::bindgen_prelude::{AsyncTask, BigInt};
use napi_derive::napi;

use crate::error::{Failure, Res, check};
use crate::handle::{Handle, Job, c_string, job, own};
use crate::netns::{descriptor, open_path, within};
use crate::system::attach_type_number;

/// A hook in the words of `binding.ts`; which fields count depends on `kind`.
#[napi(object)]
#[derive(Clone)]
pub struct Hook {
    /// xdp, tcx, netkit, cgroup, netns, raw-tracepoint, tracepoint, kprobe, uprobe, tracing
    pub kind: String,
    /// For messages.
    pub name: String,
    pub attach_type: String,
    pub ifindex: Option<i32>,
    pub path: Option<String>,
    /// Of probes: the function, or the path of the binary.
    pub tracepoint: Option<String>,
    /// Of probes: behind the function's start, or in the file.
    pub offset: Option<BigInt>,
    pub is_return: Option<bool>,
}

#[napi(object)]
pub struct Placement {
    pub flags: u32,
    pub relative_id: Option<u32>,
    pub expected_revision: Option<BigInt>,
}

struct Request {
    hook: Hook,
    flags: u32,
    relative_id: u32,
    expected_revision: u64,
}

#[napi]
pub fn attach(program: &Handle, hook: Hook, place: Placement, netns: Option<&Handle>) -> napi::Result<AsyncTask<Job<Handle>>> {
    let program = program.get("attach", &format!("program to {}", hook.name))?;
    let netns = descriptor(netns)?;
    let request = Request {
        hook,
        flags: place.flags,
        relative_id: place.relative_id.unwrap_or(0),
        expected_revision: place.expected_revision.map_or(0, |revision| revision.get_u64().1),
    };
    Ok(job(move || within(netns, || create_link(&program, &request)).map(Handle::new)))
}

fn create_link(program: &OwnedFd, request: &Request) -> Res<OwnedFd> {
    let Request { hook, flags, relative_id, expected_revision } = request;
    let object = format!("program to {}", hook.name);
    match hook.kind.as_str() {
        "raw-tracepoint" => return attach_raw_tracepoint(program, hook, &object),
        "tracepoint" => return attach_tracepoint(program, hook, &object),
        "kprobe" | "uprobe" => return attach_probe(program, hook, &object),
        // SAFETY: no name: the kernel takes the function that the program was loaded for.
        "tracing" => {
            return own(unsafe { sys::bpf_raw_tracepoint_open(std::ptr::null(), program.as_raw_fd()) }, "attach", &object);
        }
        _ => {}
    }
    let target = Target::open(hook, "attach", &object)?;
    // SAFETY: a plain C struct; zero is the value of every unused field.
    let mut opts: sys::bpf_link_create_opts = unsafe { zeroed() };
    opts.sz = size_of_val(&opts) as sys::size_t;
    opts.flags = *flags;
    // Which member of the union the kernel reads is told by the hook.
    let place = &mut opts.__bindgen_anon_1;
    match hook.kind.as_str() {
        "tcx" => {
            place.tcx = sys::bpf_link_create_opts__bindgen_ty_1__bindgen_ty_6 {
                relative_fd: 0,
                relative_id: *relative_id,
                expected_revision: *expected_revision,
            }
        }
        "netkit" => {
            place.netkit = sys::bpf_link_create_opts__bindgen_ty_1__bindgen_ty_7 {
                relative_fd: 0,
                relative_id: *relative_id,
                expected_revision: *expected_revision,
            }
        }
        "cgroup" => {
            place.cgroup = sys::bpf_link_create_opts__bindgen_ty_1__bindgen_ty_8 {
                relative_fd: 0,
                relative_id: *relative_id,
                expected_revision: *expected_revision,
            }
        }
        _ => {}
    }
    // SAFETY: both descriptors are held for the call.
    let ret = unsafe { sys::bpf_link_create(program.as_raw_fd(), target.number(), target.attach_type, &opts) };
    own(ret, "attach", object)
        .map_err(|failure| if target.is_gone() { Failure { errno: libc::ENODEV, ..failure } } else { failure })
}

/// What the kernel takes as the place of a hook: an ifindex, or the descriptor of a cgroup or a namespace.
struct Target {
    ifindex: i32,
    file: Option<OwnedFd>,
    attach_type: u32,
}

impl Target {
    fn open(hook: &Hook, op: &'static str, object: &str) -> Res<Target> {
        let attach_type = attach_type_number(&hook.attach_type, op, object)?;
        match (&hook.path, hook.ifindex) {
            (Some(path), _) => Ok(Target { ifindex: 0, file: Some(open_path(path, op, object)?), attach_type }),
            (None, Some(ifindex)) => Ok(Target { ifindex, file: None, attach_type }),
            (None, None) => Err(Failure::invalid(op, object, "neither an interface nor a path")),
        }
    }

    /// The kernel answers EINVAL for an XDP link on an interface that is not there.
    fn is_gone(&self) -> bool {
        let mut name = [0 as libc::c_char; libc::IF_NAMESIZE];
        // SAFETY: the buffer has the size that the call wants.
        self.file.is_none() && unsafe { libc::if_indextoname(self.ifindex as u32, name.as_mut_ptr()).is_null() }
    }

    fn number(&self) -> i32 {
        self.file.as_ref().map_or(self.ifindex, |file| file.as_raw_fd())
    }
}

fn tracepoint_name<'a>(hook: &'a Hook, object: &str) -> Res<&'a str> {
    hook.tracepoint.as_deref().ok_or_else(|| Failure::invalid("attach", object, "no name of a tracepoint"))
}

fn attach_raw_tracepoint(program: &OwnedFd, hook: &Hook, object: &str) -> Res<OwnedFd> {
    let name = c_string(tracepoint_name(hook, object)?, "attach", object)?;
    // SAFETY: the name is NUL-terminated, the descriptor is held for the call.
    own(unsafe { sys::bpf_raw_tracepoint_open(name.as_ptr(), program.as_raw_fd()) }, "attach", object)
}

/// `category/name`, through a perf event that the link keeps.
fn attach_tracepoint(program: &OwnedFd, hook: &Hook, object: &str) -> Res<OwnedFd> {
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
fn attach_probe(program: &OwnedFd, hook: &Hook, object: &str) -> Res<OwnedFd> {
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

/// Attaches without a link (BPF_PROG_ATTACH), for hooks and kernels that have none.
#[napi]
pub fn attach_direct(program: &Handle, hook: Hook, flags: u32, replace: Option<&Handle>) -> napi::Result<AsyncTask<Job<()>>> {
    let object = format!("program to {}", hook.name);
    let program = program.get("attach", &object)?;
    let replace = replace.map(|each| each.get("attach", &object)).transpose()?;
    Ok(job(move || {
        let target = Target::open(&hook, "attach", &object)?;
        // SAFETY: a plain C struct; zero is the value of every unused field.
        let mut opts: sys::bpf_prog_attach_opts = unsafe { zeroed() };
        opts.sz = size_of_val(&opts) as sys::size_t;
        opts.flags = flags;
        if let Some(replace) = &replace {
            opts.flags |= sys::BPF_F_REPLACE;
            opts.__bindgen_anon_1.replace_fd = replace.as_raw_fd();
        }
        // SAFETY: all descriptors are held for the call.
        let ret = unsafe { sys::bpf_prog_attach_opts(program.as_raw_fd(), target.number(), target.attach_type, &opts) };
        check(ret, "attach", object).map(drop)
    }))
}

#[napi]
pub fn detach_direct(program: &Handle, hook: Hook) -> napi::Result<AsyncTask<Job<()>>> {
    let object = format!("program from {}", hook.name);
    let program = program.get("detach", &object)?;
    Ok(job(move || {
        let target = Target::open(&hook, "detach", &object)?;
        // SAFETY: all descriptors are held for the call.
        let ret = unsafe { sys::bpf_prog_detach2(program.as_raw_fd(), target.number(), target.attach_type) };
        check(ret, "detach", object).map(drop)
    }))
}

#[napi(object)]
pub struct HookState {
    pub revision: BigInt,
    pub programs: Vec<u32>,
    /// As long as `programs`; 0 where a program is there without a link.
    pub links: Vec<u32>,
    pub attach_flags: u32,
    /// XDP only: native, skb, hw, multi
    pub mode: Option<String>,
    /// XDP only: what the driver can do (NETDEV_XDP_ACT_*).
    pub features: Option<BigInt>,
}

#[napi]
pub fn query_hook(hook: Hook, netns: Option<&Handle>) -> napi::Result<AsyncTask<Job<HookState>>> {
    let netns = descriptor(netns)?;
    Ok(job(move || within(netns, || if hook.kind == "xdp" { query_xdp(&hook) } else { query(&hook) })))
}

fn query(hook: &Hook) -> Res<HookState> {
    let target = Target::open(hook, "query", &hook.name)?;
    let mut room = 64;
    loop {
        let mut programs = vec![0u32; room];
        let mut links = vec![0u32; room];
        // SAFETY: a plain C struct; zero is the value of every unused field.
        let mut opts: sys::bpf_prog_query_opts = unsafe { zeroed() };
        opts.sz = size_of_val(&opts) as sys::size_t;
        opts.prog_ids = programs.as_mut_ptr();
        opts.__bindgen_anon_1.count = room as u32;
        // Cgroups and namespaces refuse the field: their programs have no link ids to tell.
        if matches!(hook.kind.as_str(), "tcx" | "netkit") {
            opts.link_ids = links.as_mut_ptr();
        }
        // SAFETY: both arrays have room for `count` numbers.
        let ret = unsafe { sys::bpf_prog_query_opts(target.number(), target.attach_type, &mut opts) };
        if ret == -libc::ENOSPC && room < 1 << 16 {
            room *= 4;
            continue;
        }
        // Nothing was ever attached there.
        if ret == -libc::ENOENT && hook.ifindex.is_some() {
            opts.__bindgen_anon_1.count = 0;
        } else {
            check(ret, "query", &hook.name)?;
        }
        // SAFETY: plain numbers either way.
        let count = unsafe { opts.__bindgen_anon_1.count } as usize;
        programs.truncate(count);
        links.truncate(count);
        let (mode, features) = (None, None);
        return Ok(HookState {
            revision: BigInt::from(opts.revision),
            programs,
            links,
            attach_flags: opts.attach_flags,
            mode,
            features,
        });
    }
}

fn query_xdp(hook: &Hook) -> Res<HookState> {
    // SAFETY: a plain C struct; zero is the value of every unused field.
    let mut opts: sys::bpf_xdp_query_opts = unsafe { zeroed() };
    opts.sz = size_of_val(&opts) as sys::size_t;
    // SAFETY: `opts` is writable.
    check(unsafe { sys::bpf_xdp_query(hook.ifindex.unwrap_or(0), 0, &mut opts) }, "query", &hook.name)?;
    let mode = match u32::from(opts.attach_mode) {
        XDP_ATTACHED_DRV => Some("native"),
        XDP_ATTACHED_SKB => Some("skb"),
        XDP_ATTACHED_HW => Some("hw"),
        XDP_ATTACHED_MULTI => Some("multi"),
        _ => None,
    };
    let mut programs = vec![opts.drv_prog_id, opts.skb_prog_id, opts.hw_prog_id, opts.prog_id];
    programs.retain(|&id| id != 0);
    programs.sort_unstable();
    programs.dedup();
    let links = programs.iter().map(|&id| xdp_link(hook.ifindex.unwrap_or(0), id)).collect::<Res<_>>()?;
    Ok(HookState {
        revision: BigInt::from(0u64),
        programs,
        links,
        attach_flags: 0,
        mode: mode.map(String::from),
        features: Some(BigInt::from(opts.feature_flags)),
    })
}

/// IFLA_XDP_ATTACHED of linux/if_link.h.
const XDP_ATTACHED_DRV: u32 = 1;
const XDP_ATTACHED_SKB: u32 = 2;
const XDP_ATTACHED_HW: u32 = 3;
const XDP_ATTACHED_MULTI: u32 = 4;

/// The XDP link that holds a program on an ifindex, or 0 when netlink put it there. Links do not tell their
/// namespace: one program on equal ifindexes of two namespaces gives either link.
fn xdp_link(ifindex: i32, program: u32) -> Res<u32> {
    for id in crate::system::ids(sys::bpf_link_get_next_id, "list", "links") {
        let id = id?;
        // SAFETY: plain system call.
        let Ok(fd) = own(unsafe { sys::bpf_link_get_fd_by_id(id) }, "open", "link") else { continue };
        // SAFETY: a plain C struct; zero is the value of every unused field.
        let mut raw: sys::bpf_link_info = unsafe { zeroed() };
        if crate::system::info_by_fd(&fd, &mut raw, "inspect", "link").is_err() {
            continue;
        }
        // SAFETY: the type says that the kernel filled this member.
        let is_here = raw.type_ == sys::BPF_LINK_TYPE_XDP && unsafe { raw.__bindgen_anon_1.xdp.ifindex } == ifindex as u32;
        if is_here && raw.prog_id == program {
            return Ok(raw.id);
        }
    }
    Ok(0)
}

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
