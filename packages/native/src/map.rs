//! Maps: single entries on the event loop, whole maps off it.

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

/// ENOTSUPP, which the kernel keeps from the C library.
const ENOTSUPP: i32 = 524;
/// Entries of the first batch; a hash bucket that does not fit doubles it.
const FIRST_BATCH: u32 = 4096;

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
struct Open {
    fd: Arc<OwnedFd>,
    shape: Shape,
    op: &'static str,
}

impl Open {
    fn of(map: &Handle, op: &'static str) -> Res<Open> {
        let shape = map.shape.clone().ok_or_else(|| Failure::invalid(op, "map", "not a map"))?;
        let fd = map.get(op, &format!("map {}", shape.name))?;
        Ok(Open { fd, shape, op })
    }

    fn raw(&self) -> i32 {
        self.fd.as_raw_fd()
    }

    fn failure(&self, errno: i32) -> Failure {
        Failure::new(self.op, format!("map {}", self.shape.name), errno)
    }

    fn expect(&self, what: &str, got: usize, wanted: usize) -> Res<()> {
        if got == wanted {
            return Ok(());
        }
        let text = format!("the {what} has {got} bytes, not {wanted}");
        Err(Failure::range(self.op, format!("map {}", self.shape.name), text))
    }

    /// Queues, stacks and bloom filters have no key: the kernel wants no pointer then.
    fn key(&self, key: &[u8]) -> *const c_void {
        if self.shape.key == 0 { std::ptr::null() } else { key.as_ptr().cast() }
    }

    /// Room for what one lookup writes; never zero bytes.
    fn room(&self) -> Vec<u8> {
        vec![0u8; self.shape.whole_value.max(8)]
    }

    fn lookup(&self, key: &[u8], value: &mut [u8], flags: u64) -> Result<(), i32> {
        // SAFETY: `key` has the map's key size, `value` at least the size of a whole value.
        match unsafe { sys::bpf_map_lookup_elem_flags(self.raw(), self.key(key), value.as_mut_ptr().cast(), flags) } {
            ret if ret < 0 => Err(-ret),
            _ => Ok(()),
        }
    }

    fn update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), i32> {
        // SAFETY: both slices have the sizes the kernel reads.
        match unsafe { sys::bpf_map_update_elem(self.raw(), self.key(key), value.as_ptr().cast(), flags) } {
            ret if ret < 0 => Err(-ret),
            _ => Ok(()),
        }
    }

    fn delete(&self, key: &[u8]) -> Result<(), i32> {
        // SAFETY: the key has the map's key size.
        match unsafe { sys::bpf_map_delete_elem(self.raw(), self.key(key)) } {
            ret if ret < 0 => Err(-ret),
            _ => Ok(()),
        }
    }

    fn next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> Result<(), i32> {
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

#[napi(object)]
pub struct MapBatch {
    pub keys: Buffer,
    pub values: Buffer,
    pub count: u32,
}

fn is_unserved(errno: i32) -> bool {
    matches!(errno, ENOTSUPP | libc::EOPNOTSUPP)
}

/// Reads a whole map, or its first `max` entries; with `and_delete` it takes them out as well.
#[napi]
pub fn map_read(map: &Handle, max: Option<u32>, and_delete: bool) -> napi::Result<AsyncTask<Job<MapBatch>>> {
    let map = Open::of(map, if and_delete { "take all from" } else { "read all of" })?;
    let max = max.unwrap_or(u32::MAX) as usize;
    Ok(job(move || {
        if map.shape.key == 0 {
            return Err(map.failure(libc::EOPNOTSUPP));
        }
        let (mut keys, mut values) = match read_batches(&map, max, and_delete)? {
            Some(read) => read,
            None => read_one_by_one(&map, max, and_delete)?,
        };
        // What was taken out must not be lost, even where a bucket held more than was asked for.
        let read = keys.len() / map.shape.key;
        let count = if and_delete { read } else { read.min(max) };
        keys.truncate(count * map.shape.key);
        values.truncate(count * map.shape.whole_value);
        Ok(MapBatch { keys: keys.into(), values: values.into(), count: count as u32 })
    }))
}

type Read = (Vec<u8>, Vec<u8>);

/// None where the kernel does not serve batches of this map.
fn read_batches(map: &Open, max: usize, and_delete: bool) -> Res<Option<Read>> {
    let Shape { key, whole_value, max_entries, .. } = map.shape;
    let call = if and_delete { sys::bpf_map_lookup_and_delete_batch } else { sys::bpf_map_lookup_batch };
    let mut room = FIRST_BATCH.min(max_entries.max(1)).min(max.max(1).min(u32::MAX as usize) as u32);
    let (mut keys, mut values) = (Vec::new(), Vec::new());
    // The kernel's place in the map: a key, or for hashes the number of a bucket.
    let mut token = vec![0u8; key.max(8)];
    let mut next = token.clone();
    let mut is_first = true;
    loop {
        let have = keys.len() / key;
        if have >= max {
            return Ok(Some((keys, values)));
        }
        keys.resize((have + room as usize) * key, 0);
        values.resize((have + room as usize) * whole_value, 0);
        let mut count = room;
        let from = if is_first { std::ptr::null_mut() } else { token.as_mut_ptr().cast() };
        // SAFETY: there is room for `count` keys and values behind what was read; the tokens hold a key or 4 bytes.
        let ret = unsafe {
            call(
                map.raw(),
                from,
                next.as_mut_ptr().cast(),
                keys.as_mut_ptr().add(have * key).cast(),
                values.as_mut_ptr().add(have * whole_value).cast(),
                &mut count,
                std::ptr::null(),
            )
        };
        let errno = -ret.min(0);
        // On an error with nothing read the kernel may leave the count as it was.
        let read = if errno == 0 || errno == libc::ENOENT { count.min(room) as usize } else { 0 };
        keys.truncate((have + read) * key);
        values.truncate((have + read) * whole_value);
        match errno {
            0 => {
                std::mem::swap(&mut token, &mut next);
                is_first = false;
            }
            libc::ENOENT => return Ok(Some((keys, values))),
            // A bucket is larger than the room; none is larger than the map.
            libc::ENOSPC if room < max_entries.saturating_mul(2) => room = room.saturating_mul(2),
            libc::EINTR | libc::EAGAIN => {}
            errno if is_first && (is_unserved(errno) || errno == libc::EINVAL) => return Ok(None),
            errno => return Err(map.failure(errno)),
        }
        // A hash that changes under the walk may repeat keys: it must still end.
        if keys.len() / key > max_entries as usize * 2 + room as usize {
            return Ok(Some((keys, values)));
        }
    }
}

fn read_one_by_one(map: &Open, max: usize, and_delete: bool) -> Res<Read> {
    let Shape { key, whole_value, max_entries, .. } = map.shape;
    let (mut keys, mut values) = (Vec::new(), Vec::new());
    let mut value = map.room();
    let mut current: Option<Vec<u8>> = None;
    let mut next = vec![0u8; key.max(8)];
    // A key that vanishes sends the kernel back to the start: count steps, not entries.
    for _ in 0..(max_entries as usize * 2 + 16) {
        if keys.len() / key >= max {
            break;
        }
        match map.next_key(current.as_deref(), &mut next) {
            Ok(()) => {}
            Err(libc::ENOENT) => break,
            Err(errno) => return Err(map.failure(errno)),
        }
        match map.lookup(&next[..key], &mut value, 0) {
            Ok(()) => {
                keys.extend_from_slice(&next[..key]);
                values.extend_from_slice(&value[..whole_value]);
            }
            Err(libc::ENOENT) => {}
            Err(errno) => return Err(map.failure(errno)),
        }
        if !and_delete {
            current = Some(next[..key].to_vec());
            continue;
        }
        match map.delete(&next[..key]) {
            Ok(()) | Err(libc::ENOENT) => {}
            Err(errno) => return Err(map.failure(errno)),
        }
    }
    Ok((keys, values))
}

/// Writes entries in order; answers how many, and on an error says how far it came.
#[napi]
pub fn map_update_batch(
    map: &Handle,
    keys: &[u8],
    values: &[u8],
    count: u32,
    flags: Option<u32>,
) -> napi::Result<AsyncTask<Job<u32>>> {
    let map = Open::of(map, "write batch to")?;
    map.expect("buffer of keys", keys.len(), count as usize * map.shape.key)?;
    map.expect("buffer of values", values.len(), count as usize * map.shape.whole_value)?;
    let (keys, values, flags) = (keys.to_vec(), values.to_vec(), u64::from(flags.unwrap_or(0)));
    Ok(job(move || {
        let Shape { key, whole_value, .. } = map.shape;
        // SAFETY: a plain C struct; zero is the value of every unused field.
        let mut opts: sys::bpf_map_batch_opts = unsafe { zeroed() };
        opts.sz = size_of_val(&opts) as sys::size_t;
        opts.elem_flags = flags;
        let mut done = 0usize;
        let mut is_served = key > 0;
        while done < count as usize {
            let mut written = count - done as u32;
            let errno = if is_served {
                // SAFETY: the buffers hold `written` keys and values from `done` on.
                let ret = unsafe {
                    let keys = keys.as_ptr().add(done * key).cast();
                    let values = values.as_ptr().add(done * whole_value).cast();
                    sys::bpf_map_update_batch(map.raw(), keys, values, &mut written, &opts)
                };
                -ret.min(0)
            } else {
                written = 1;
                let (key, value) = (&keys[done * key..][..key], &values[done * whole_value..][..whole_value]);
                map.update(key, value, flags).err().unwrap_or(0)
            };
            match errno {
                0 => done += written as usize,
                // Refused before the first entry, the count says nothing.
                errno if is_served && is_unserved(errno) => is_served = false,
                // The batch as such was refused: single entries tell whether one of them is to blame.
                _ if is_served && written == count - done as u32 => is_served = false,
                errno => {
                    let done = if is_served { done + written as usize } else { done };
                    let object = format!("map {}, {done} of {count} done", map.shape.name);
                    return Err(Failure { object, ..map.failure(errno) });
                }
            }
        }
        Ok(done as u32)
    }))
}

/// Deletes entries; those that were not there are skipped. Answers how many were.
#[napi]
pub fn map_delete_batch(map: &Handle, keys: &[u8], count: u32) -> napi::Result<AsyncTask<Job<u32>>> {
    let map = Open::of(map, "delete batch from")?;
    map.expect("buffer of keys", keys.len(), count as usize * map.shape.key)?;
    let keys = keys.to_vec();
    Ok(job(move || {
        let key = map.shape.key;
        let (mut at, mut deleted) = (0usize, 0u32);
        let mut is_served = key > 0;
        while at < count as usize {
            let asked = count - at as u32;
            let mut done = asked;
            let errno = if is_served {
                // SAFETY: the buffer holds `done` keys from `at` on.
                let ret = unsafe {
                    let keys = keys.as_ptr().add(at * key).cast();
                    sys::bpf_map_delete_batch(map.raw(), keys, &mut done, std::ptr::null())
                };
                -ret.min(0)
            } else {
                done = 1;
                map.delete(&keys[at * key..][..key]).err().unwrap_or(0)
            };
            match errno {
                0 => {
                    at += done as usize;
                    deleted += done;
                }
                libc::ENOENT if is_served && done < asked => {
                    at += done as usize + 1;
                    deleted += done;
                }
                libc::ENOENT if !is_served => at += 1,
                _ if is_served => is_served = false,
                errno => {
                    let object = format!("map {}, {at} of {count} done", map.shape.name);
                    return Err(Failure { object, ..map.failure(errno) });
                }
            }
        }
        Ok(deleted)
    }))
}

/// No more writes by system call.
#[napi]
pub fn map_freeze(map: &Handle) -> napi::Result<()> {
    let map = Open::of(map, "freeze")?;
    // SAFETY: plain system call.
    check(unsafe { sys::bpf_map_freeze(map.raw()) }, map.op, format!("map {}", map.shape.name))?;
    Ok(())
}

/// A window on the memory of a BPF_F_MMAPABLE array, unmapped when dropped.
struct Window {
    at: *mut u8,
    length: usize,
}

impl Window {
    fn open(map: &Open, offset: usize, length: usize, protection: i32) -> Res<Window> {
        let object = format!("map {}", map.shape.name);
        if map.shape.kind != sys::BPF_MAP_TYPE_ARRAY || map.shape.flags & sys::BPF_F_MMAPABLE == 0 {
            return Err(Failure::invalid(map.op, object, "not an array with BPF_F_MMAPABLE"));
        }
        let size = map.shape.value.next_multiple_of(8) * map.shape.max_entries as usize;
        if offset.checked_add(length).is_none_or(|end| end > size) {
            return Err(Failure::range(map.op, object, format!("bytes {offset} to {offset}+{length} are not within its {size}")));
        }
        // SAFETY: plain system call; the kernel rounds the length up to pages that belong to the map.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), size.max(1), protection, libc::MAP_SHARED, map.raw(), 0) };
        if at == libc::MAP_FAILED {
            return Err(Failure::last(map.op, object));
        }
        Ok(Window { at: at.cast(), length: size.max(1) })
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // SAFETY: exactly what mmap gave.
        unsafe { libc::munmap(self.at.cast(), self.length) };
    }
}

/// Copies bytes into a map's memory. Programs may see the copy half done.
#[napi]
pub fn map_write_memory(map: &Handle, bytes: &[u8], offset: u32) -> napi::Result<()> {
    let map = Open::of(map, "write into")?;
    let offset = offset as usize;
    let window = Window::open(&map, offset, bytes.len(), libc::PROT_READ | libc::PROT_WRITE)?;
    // SAFETY: `open` checked that offset and length lie within the window.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), window.at.add(offset), bytes.len()) };
    Ok(())
}

#[napi]
pub fn map_read_memory(map: &Handle, offset: u32, length: u32) -> napi::Result<Buffer> {
    let map = Open::of(map, "read from")?;
    let (offset, length) = (offset as usize, length as usize);
    let window = Window::open(&map, offset, length, libc::PROT_READ)?;
    let mut bytes = vec![0u8; length];
    // SAFETY: `open` checked that offset and length lie within the window.
    unsafe { std::ptr::copy_nonoverlapping(window.at.add(offset), bytes.as_mut_ptr(), length) };
    Ok(bytes.into())
}
