//! Hooks: put a program on one, and see what is there.

use std::mem::zeroed;
use std::os::fd::{AsRawFd, OwnedFd};

use libbpf_sys as sys;
use napi::bindgen_prelude::{AsyncTask, BigInt};
use napi_derive::napi;

use crate::error::{Failure, Res, check};
use crate::handle::{Handle, Job, job, own};
use crate::netns::{descriptor, open_path, within};
use crate::system::attach_type_number;
use crate::tracing::{attach_probe, attach_raw_tracepoint, attach_tracepoint};

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
