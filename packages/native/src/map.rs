//! Maps: what they are, how they are made, and single entries.

use std::ffi::c_void;
use std::mem::zeroed;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use libbpf_sys as sys;
use napi::bindgen_prelude::{AsyncTask, BigInt, Buffer, BufferSlice};
use napi_derive::napi;

use crate::error::{Failure, Res, check};
use crate::handle::{Handle, Job, Kind, c_string, expect_kind, job, own};
use crate::system::{ids, info_by_fd, name_of, number, open_pin, possible_cpu_count, unless_gone, word};

/// Sizes as the kernel told them when the descriptor was opened: no buffer is handed out without them.
#[derive(Clone, Debug)]
pub struct Shape {
    pub kind: u32,
    pub name: String,
    pub key: usize,
    pub value: usize,
    /// Bytes that one lookup writes: all possible CPUs' values where the map is per CPU.
    pub whole_value: usize,
    pub max_entries: u32,
    pub flags: u32,
}

impl Shape {
    pub fn of(fd: &OwnedFd, object: &str) -> Res<Shape> {
        let info = raw_info(fd, object)?;
        let value = info.value_size as usize;
        let whole_value = match info.type_ {
            sys::BPF_MAP_TYPE_PERCPU_HASH
            | sys::BPF_MAP_TYPE_PERCPU_ARRAY
            | sys::BPF_MAP_TYPE_LRU_PERCPU_HASH
            | sys::BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE => value.next_multiple_of(8) * possible_cpu_count()?,
            _ => value,
        };
        Ok(Shape {
            kind: info.type_,
            name: name_of(&info.name),
            key: info.key_size as usize,
            value,
            whole_value,
            max_entries: info.max_entries,
            flags: info.map_flags,
        })
    }
}

#[napi(object)]
pub struct MapInfo {
    pub id: u32,
    pub r#type: String,
    pub name: String,
    pub key_size: u32,
    pub value_size: u32,
    pub max_entries: u32,
    pub flags: u32,
    pub btf_id: u32,
    pub btf_key_type_id: u32,
    pub btf_value_type_id: u32,
    pub ifindex: u32,
    pub extra: BigInt,
}

fn raw_info(fd: &OwnedFd, object: &str) -> Res<sys::bpf_map_info> {
    // SAFETY: a plain C struct; zero is the value of every unused field.
    let mut info: sys::bpf_map_info = unsafe { zeroed() };
    info_by_fd(fd, &mut info, "inspect", object)?;
    Ok(info)
}

pub fn type_word(kind: u32) -> String {
    // SAFETY: takes any number.
    word(unsafe { sys::libbpf_bpf_map_type_str(kind) }, kind)
}

fn info(fd: &OwnedFd, object: &str) -> Res<MapInfo> {
    let raw = raw_info(fd, object)?;
    Ok(MapInfo {
        id: raw.id,
        r#type: type_word(raw.type_),
        name: name_of(&raw.name),
        key_size: raw.key_size,
        value_size: raw.value_size,
        max_entries: raw.max_entries,
        flags: raw.map_flags,
        btf_id: raw.btf_id,
        btf_key_type_id: raw.btf_key_type_id,
        btf_value_type_id: raw.btf_value_type_id,
        ifindex: raw.ifindex,
        extra: BigInt::from(raw.map_extra),
    })
}

/// Wraps a descriptor that must be a map's.
pub fn map_handle(fd: OwnedFd, object: &str) -> Res<Handle> {
    expect_kind(&fd, Kind::Map, "open", object)?;
    let shape = Shape::of(&fd, object)?;
    Ok(Handle::with_shape(fd, shape))
}

fn by_id(id: u32) -> Res<OwnedFd> {
    // SAFETY: plain system call.
    own(unsafe { sys::bpf_map_get_fd_by_id(id) }, "open", format!("map {id}"))
}

#[napi]
pub fn map_by_id(id: u32) -> napi::Result<Handle> {
    Ok(map_handle(by_id(id)?, &format!("map {id}"))?)
}

#[napi]
pub fn map_by_pin(path: String, is_read_only: bool) -> napi::Result<Handle> {
    let object = format!("map {path}");
    Ok(map_handle(open_pin(&path, is_read_only, &object)?, &object)?)
}

#[napi]
pub fn map_info(map: &Handle) -> napi::Result<MapInfo> {
    Ok(info(&*map.get("inspect", "map")?, "map")?)
}

#[napi]
pub fn list_maps() -> AsyncTask<Job<Vec<MapInfo>>> {
    job(|| {
        let look = |id: Res<u32>| id.and_then(|id| info(&by_id(id)?, &format!("map {id}")));
        ids(sys::bpf_map_get_next_id, "list", "maps").filter_map(|id| unless_gone(look(id))).collect()
    })
}

#[napi(object)]
pub struct MapSpec {
    pub r#type: String,
    pub name: String,
    pub key_size: u32,
    pub value_size: u32,
    pub max_entries: u32,
    pub flags: Option<u32>,
    pub extra: Option<BigInt>,
    pub inner_map_fd: Option<i32>,
    pub btf_fd: Option<i32>,
    pub btf_key_type_id: Option<u32>,
    pub btf_value_type_id: Option<u32>,
}

#[napi]
pub fn create_map(spec: MapSpec) -> napi::Result<Handle> {
    let object = format!("map {}", spec.name);
    // SAFETY: takes any number.
    let kind = number(&spec.r#type, |each| unsafe { sys::libbpf_bpf_map_type_str(each) })
        .ok_or_else(|| Failure::invalid("create", &object, format!("no map type is called {}", spec.r#type)))?;
    let name = c_string(&spec.name, "create", &object)?;
    // SAFETY: a plain C struct; zero is the value of every unused field.
    let mut opts: sys::bpf_map_create_opts = unsafe { zeroed() };
    opts.sz = size_of_val(&opts) as sys::size_t;
    opts.map_flags = spec.flags.unwrap_or(0);
    opts.map_extra = spec.extra.map_or(0, |extra| extra.get_u64().1);
    opts.inner_map_fd = spec.inner_map_fd.unwrap_or(0) as u32;
    opts.btf_fd = spec.btf_fd.unwrap_or(0) as u32;
    opts.btf_key_type_id = spec.btf_key_type_id.unwrap_or(0);
    opts.btf_value_type_id = spec.btf_value_type_id.unwrap_or(0);
    // SAFETY: the name is NUL-terminated; libbpf copies what it needs.
    let ret = unsafe { sys::bpf_map_create(kind, name.as_ptr(), spec.key_size, spec.value_size, spec.max_entries, &opts) };
    let fd = own(ret, "create", &object)?;
    Ok(map_handle(fd, &object)?)
}

/// A map as one call needs it: the descriptor held, sizes known.
pub(crate) struct Open {
    pub(crate) fd: Arc<OwnedFd>,
    pub(crate) shape: Shape,
    pub(crate) op: &'static str,
}

impl Open {
    pub(crate) fn of(map: &Handle, op: &'static str) -> Res<Open> {
        let shape = map.shape.clone().ok_or_else(|| Failure::invalid(op, "map", "not a map"))?;
        let fd = map.get(op, &format!("map {}", shape.name))?;
        Ok(Open { fd, shape, op })
    }

    pub(crate) fn raw(&self) -> i32 {
        self.fd.as_raw_fd()
    }

    pub(crate) fn failure(&self, errno: i32) -> Failure {
        Failure::new(self.op, format!("map {}", self.shape.name), errno)
    }

    pub(crate) fn expect(&self, what: &str, got: usize, wanted: usize) -> Res<()> {
        if got == wanted {
            return Ok(());
        }
        let text = format!("the {what} has {got} bytes, not {wanted}");
        Err(Failure::range(self.op, format!("map {}", self.shape.name), text))
    }

    /// Queues, stacks and bloom filters have no key: the kernel wants no pointer then.
    pub(crate) fn key(&self, key: &[u8]) -> *const c_void {
        if self.shape.key == 0 { std::ptr::null() } else { key.as_ptr().cast() }
    }

    /// Room for what one lookup writes; never zero bytes.
    pub(crate) fn room(&self) -> Vec<u8> {
        vec![0u8; self.shape.whole_value.max(8)]
    }

    pub(crate) fn lookup(&self, key: &[u8], value: &mut [u8], flags: u64) -> Result<(), i32> {
        // SAFETY: `key` has the map's key size, `value` at least the size of a whole value.
        match unsafe { sys::bpf_map_lookup_elem_flags(self.raw(), self.key(key), value.as_mut_ptr().cast(), flags) } {
            ret if ret < 0 => Err(-ret),
            _ => Ok(()),
        }
    }

    pub(crate) fn update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), i32> {
        // SAFETY: both slices have the sizes the kernel reads.
        match unsafe { sys::bpf_map_update_elem(self.raw(), self.key(key), value.as_ptr().cast(), flags) } {
            ret if ret < 0 => Err(-ret),
            _ => Ok(()),
        }
    }

    pub(crate) fn delete(&self, key: &[u8]) -> Result<(), i32> {
        // SAFETY: the key has the map's key size.
        match unsafe { sys::bpf_map_delete_elem(self.raw(), self.key(key)) } {
            ret if ret < 0 => Err(-ret),
            _ => Ok(()),
        }
    }

    pub(crate) fn next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> Result<(), i32> {
        let key = key.map_or(std::ptr::null(), |key| key.as_ptr().cast());
        // SAFETY: both buffers have the map's key size.
        match unsafe { sys::bpf_map_get_next_key(self.raw(), key, next.as_mut_ptr().cast()) } {
            ret if ret < 0 => Err(-ret),
            _ => Ok(()),
        }
    }
}

#[napi]
pub fn map_lookup(map: &Handle, key: &[u8], flags: Option<u32>) -> napi::Result<Option<Buffer>> {
    let map = Open::of(map, "read")?;
    map.expect("key", key.len(), map.shape.key)?;
    let mut value = map.room();
    match map.lookup(key, &mut value, flags.unwrap_or(0).into()) {
        Ok(()) => {
            value.truncate(map.shape.whole_value);
            Ok(Some(value.into()))
        }
        Err(libc::ENOENT) => Ok(None),
        Err(errno) => Err(map.failure(errno).into()),
    }
}

/// Looks up into a buffer of the caller's; false when there is no such entry.
#[napi]
pub fn map_lookup_into(map: &Handle, key: &[u8], mut out: BufferSlice<'_>, flags: Option<u32>) -> napi::Result<bool> {
    let map = Open::of(map, "read")?;
    map.expect("key", key.len(), map.shape.key)?;
    map.expect("buffer", out.len(), map.shape.whole_value)?;
    match map.lookup(key, &mut out, flags.unwrap_or(0).into()) {
        Ok(()) => Ok(true),
        Err(libc::ENOENT) => Ok(false),
        Err(errno) => Err(map.failure(errno).into()),
    }
}

#[napi]
pub fn map_update(map: &Handle, key: &[u8], value: &[u8], flags: Option<u32>) -> napi::Result<()> {
    let map = Open::of(map, "write")?;
    map.expect("key", key.len(), map.shape.key)?;
    map.expect("value", value.len(), map.shape.whole_value)?;
    Ok(map.update(key, value, flags.unwrap_or(0).into()).map_err(|errno| map.failure(errno))?)
}

/// False when there was no such entry.
#[napi]
pub fn map_delete(map: &Handle, key: &[u8]) -> napi::Result<bool> {
    let map = Open::of(map, "delete from")?;
    map.expect("key", key.len(), map.shape.key)?;
    match map.delete(key) {
        Ok(()) => Ok(true),
        Err(libc::ENOENT) => Ok(false),
        Err(errno) => Err(map.failure(errno).into()),
    }
}

/// The key after another, or the first; null at the end.
#[napi]
pub fn map_next_key(map: &Handle, key: Option<&[u8]>) -> napi::Result<Option<Buffer>> {
    let map = Open::of(map, "walk")?;
    if let Some(key) = key {
        map.expect("key", key.len(), map.shape.key)?;
    }
    let mut next = vec![0u8; map.shape.key.max(8)];
    match map.next_key(key, &mut next) {
        Ok(()) => {
            next.truncate(map.shape.key);
            Ok(Some(next.into()))
        }
        Err(libc::ENOENT) => Ok(None),
        Err(errno) => Err(map.failure(errno).into()),
    }
}

/// No more writes by system call.
#[napi]
pub fn map_freeze(map: &Handle) -> napi::Result<()> {
    let map = Open::of(map, "freeze")?;
    // SAFETY: plain system call.
    check(unsafe { sys::bpf_map_freeze(map.raw()) }, map.op, format!("map {}", map.shape.name))?;
    Ok(())
}
