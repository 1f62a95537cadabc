//! The memory of arrays with BPF_F_MMAPABLE.

use libbpf_sys as sys;
use napi::bindgen_prelude::Buffer;
use napi_derive::napi;

use crate::error::{Failure, Res};
use crate::handle::Handle;
use crate::map::Open;

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
