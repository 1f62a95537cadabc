//! Whole maps, read and written off the event loop.

use std::mem::zeroed;

use libbpf_sys as sys;
use napi::bindgen_prelude::{AsyncTask, Buffer};
use napi_derive::napi;

use crate::error::{Failure, Res};
use crate::handle::{Handle, Job, job};
use crate::map::{Open, Shape};

/// ENOTSUPP, which the kernel keeps from the C library.
const ENOTSUPP: i32 = 524;
/// Entries of the first batch; a hash bucket that does not fit doubles it.
const FIRST_BATCH: u32 = 4096;

#[napi(object)]
pub struct MapBatch {
    pub keys: Buffer,
    pub values: Buffer,
    pub count: u32,
}

fn is_unserved(errno: i32) -> bool {
    matches!(errno, ENOTSUPP | libc::EOPNOTSUPP)
}

fn is_of_maps(kind: u32) -> bool {
    matches!(kind, sys::BPF_MAP_TYPE_ARRAY_OF_MAPS | sys::BPF_MAP_TYPE_HASH_OF_MAPS)
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
        // Older kernels end a batch over a map of maps at an empty slot, with EINTR each time.
        let batches = if is_of_maps(map.shape.kind) { None } else { read_batches(&map, max, and_delete)? };
        let (mut keys, mut values) = match batches {
            Some(read) => read,
            None => read_one_by_one(&map, max, and_delete)?,
        };
        // What was taken out must not be lost, even where a bucket held more than was asked for.
        let read = keys.len() / map.shape.key;
        let count = if and_delete { read } else { read.min(max) };
        keys.truncate(count * map.shape.key);
        values.truncate(count * map.shape.whole_value);
        // V8 knows only of what is left: with the room for thousands it would let many of these lie about.
        keys.shrink_to_fit();
        values.shrink_to_fit();
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
    // Keys of an array need not be asked for.
    let is_array = map.shape.kind == sys::BPF_MAP_TYPE_ARRAY_OF_MAPS;
    // A key that vanishes sends the kernel back to the start: count steps, not entries.
    for step in 0..(max_entries as usize * 2 + 16) {
        if keys.len() / key >= max || is_array && step >= max_entries as usize {
            break;
        }
        if is_array {
            next[..4].copy_from_slice(&(step as u32).to_ne_bytes());
        } else {
            match map.next_key(current.as_deref(), &mut next) {
                Ok(()) => {}
                Err(libc::ENOENT) => break,
                Err(errno) => return Err(map.failure(errno)),
            }
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
        // Of maps of maps the kernel refuses it, and lets the caller wait for a grace period all the same.
        let mut is_served = key > 0 && !is_of_maps(map.shape.kind);
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
