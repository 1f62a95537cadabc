//! Links: what holds a program on its hook.

use std::ffi::c_char;
use std::mem::zeroed;
use std::os::fd::{AsRawFd, OwnedFd};

use libbpf_sys as sys;
use napi::bindgen_prelude::{AsyncTask, BigInt};
use napi_derive::napi;

use crate::error::{Res, check};
use crate::handle::{Handle, Job, Kind, expect_kind, job, own};
use crate::system::{attach_type_word, ids, info_by_fd, name_of, open_pin, unless_gone, word};

#[napi(object)]
#[derive(Default)]
pub struct LinkInfo {
    pub id: u32,
    pub r#type: String,
    pub program_id: u32,
    pub ifindex: Option<u32>,
    pub attach_type: Option<String>,
    pub cgroup_id: Option<BigInt>,
    pub netns_inode: Option<u32>,
    pub tracepoint: Option<String>,
    pub target_program_id: Option<u32>,
    pub map_id: Option<u32>,
}

/// BPF_PERF_EVENT_TRACEPOINT of `enum bpf_perf_event_type`.
const PERF_EVENT_TRACEPOINT: u32 = 5;

fn info(fd: &OwnedFd, object: &str) -> Res<LinkInfo> {
    // SAFETY: a plain C struct; zero is the value of every unused field.
    let mut raw: sys::bpf_link_info = unsafe { zeroed() };
    info_by_fd(fd, &mut raw, "inspect", object)?;
    // SAFETY: takes any number.
    let kind = word(unsafe { sys::libbpf_bpf_link_type_str(raw.type_) }, raw.type_);
    let mut info = LinkInfo { id: raw.id, r#type: kind, program_id: raw.prog_id, ..Default::default() };
    // SAFETY: the type says which member of the union the kernel filled.
    unsafe {
        let by_type = raw.__bindgen_anon_1;
        match raw.type_ {
            sys::BPF_LINK_TYPE_XDP => info.ifindex = Some(by_type.xdp.ifindex),
            sys::BPF_LINK_TYPE_TCX => {
                info.ifindex = Some(by_type.tcx.ifindex);
                info.attach_type = Some(attach_type_word(by_type.tcx.attach_type));
            }
            sys::BPF_LINK_TYPE_NETKIT => {
                info.ifindex = Some(by_type.netkit.ifindex);
                info.attach_type = Some(attach_type_word(by_type.netkit.attach_type));
            }
            sys::BPF_LINK_TYPE_CGROUP => {
                info.cgroup_id = Some(BigInt::from(by_type.cgroup.cgroup_id));
                info.attach_type = Some(attach_type_word(by_type.cgroup.attach_type));
            }
            sys::BPF_LINK_TYPE_NETNS => {
                info.netns_inode = Some(by_type.netns.netns_ino);
                info.attach_type = Some(attach_type_word(by_type.netns.attach_type));
            }
            sys::BPF_LINK_TYPE_TRACING => {
                info.attach_type = Some(attach_type_word(by_type.tracing.attach_type));
                info.target_program_id = Some(by_type.tracing.target_obj_id);
            }
            sys::BPF_LINK_TYPE_STRUCT_OPS => info.map_id = Some(by_type.struct_ops.map_id),
            sys::BPF_LINK_TYPE_SOCKMAP => {
                info.map_id = Some(by_type.sockmap.map_id);
                info.attach_type = Some(attach_type_word(by_type.sockmap.attach_type));
            }
            sys::BPF_LINK_TYPE_RAW_TRACEPOINT => {
                info.tracepoint = tracepoint(fd, object, |raw, buffer| {
                    raw.__bindgen_anon_1.raw_tracepoint.tp_name = buffer.as_mut_ptr() as u64;
                    raw.__bindgen_anon_1.raw_tracepoint.tp_name_len = buffer.len() as u32;
                });
            }
            sys::BPF_LINK_TYPE_PERF_EVENT if by_type.perf_event.type_ == PERF_EVENT_TRACEPOINT => {
                info.tracepoint = tracepoint(fd, object, |raw, buffer| {
                    raw.__bindgen_anon_1.perf_event.__bindgen_anon_1.tracepoint.tp_name = buffer.as_mut_ptr() as u64;
                    raw.__bindgen_anon_1.perf_event.__bindgen_anon_1.tracepoint.name_len = buffer.len() as u32;
                });
            }
            _ => {}
        }
    }
    Ok(info)
}

/// Asks again with a buffer for the name; a kernel that has none to give leaves it out.
fn tracepoint(fd: &OwnedFd, object: &str, fill: impl FnOnce(&mut sys::bpf_link_info, &mut [c_char])) -> Option<String> {
    let mut buffer = [0 as c_char; 128];
    // SAFETY: a plain C struct; zero is the value of every unused field.
    let mut raw: sys::bpf_link_info = unsafe { zeroed() };
    fill(&mut raw, &mut buffer);
    info_by_fd(fd, &mut raw, "inspect", object).ok()?;
    Some(name_of(&buffer)).filter(|name| !name.is_empty())
}

fn by_id(id: u32) -> Res<OwnedFd> {
    // SAFETY: plain system call.
    own(unsafe { sys::bpf_link_get_fd_by_id(id) }, "open", format!("link {id}"))
}

#[napi]
pub fn link_by_id(id: u32) -> napi::Result<Handle> {
    Ok(Handle::new(by_id(id)?))
}

#[napi]
pub fn link_by_pin(path: String) -> napi::Result<Handle> {
    let object = format!("link {path}");
    let fd = open_pin(&path, false, &object)?;
    expect_kind(&fd, Kind::Link, "open", &object)?;
    Ok(Handle::new(fd))
}

#[napi]
pub fn link_info(link: &Handle) -> napi::Result<LinkInfo> {
    Ok(info(&*link.get("inspect", "link")?, "link")?)
}

#[napi]
pub fn list_links() -> AsyncTask<Job<Vec<LinkInfo>>> {
    job(|| {
        let look = |id: Res<u32>| id.and_then(|id| info(&by_id(id)?, &format!("link {id}")));
        ids(sys::bpf_link_get_next_id, "list", "links").filter_map(|id| unless_gone(look(id))).collect()
    })
}

/// Puts another program behind a link; with `expected`, only in place of that one.
#[napi]
pub fn update_link(link: &Handle, next: &Handle, expected: Option<&Handle>) -> napi::Result<AsyncTask<Job<()>>> {
    let link = link.get("update", "link")?;
    let next = next.get("update", "link to a program")?;
    let expected = expected.map(|each| each.get("update", "link from a program")).transpose()?;
    Ok(job(move || {
        // SAFETY: a plain C struct; zero is the value of every unused field.
        let mut opts: sys::bpf_link_update_opts = unsafe { zeroed() };
        opts.sz = size_of_val(&opts) as sys::size_t;
        if let Some(expected) = &expected {
            opts.flags = sys::BPF_F_REPLACE;
            opts.old_prog_fd = expected.as_raw_fd() as u32;
        }
        // SAFETY: all descriptors are held by this closure.
        let ret = unsafe { sys::bpf_link_update(link.as_raw_fd(), next.as_raw_fd(), &opts) };
        check(ret, "update", "link").map(drop)
    }))
}

#[napi]
pub fn detach_link(link: &Handle) -> napi::Result<AsyncTask<Job<()>>> {
    let link = link.get("detach", "link")?;
    // SAFETY: the descriptor is held by this closure.
    Ok(job(move || check(unsafe { sys::bpf_link_detach(link.as_raw_fd()) }, "detach", "link").map(drop)))
}
