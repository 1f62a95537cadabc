//! The instructions of a prepared program, with all that the kernel must be told beside them.

use libbpf_sys as sys;
use napi::bindgen_prelude::Buffer;
use napi_derive::napi;

use crate::object::{Inner, map_name, raw_btf, text};
use crate::program::{FUNC_INFO, LINE_INFO, type_word};
use crate::system::attach_type_word;

#[napi(object)]
pub struct MapReference {
    pub fd: i32,
    pub name: String,
}

#[napi(object)]
pub struct Instructions {
    pub insns: Buffer,
    pub func_info: Buffer,
    pub func_info_rec_size: u32,
    pub line_info: Buffer,
    pub line_info_rec_size: u32,
    pub btf: Option<Buffer>,
    pub btf_fd: i32,
    pub license: String,
    pub r#type: String,
    pub expected_attach_type: Option<String>,
    pub flags: u32,
    pub maps: Vec<MapReference>,
    pub needs_module_btf: bool,
}

/// BPF_LD | BPF_IMM | BPF_DW, and a call.
const LD_IMM64: u8 = 0x18;
const CALL: u8 = 0x85;

pub(crate) fn instructions(inner: &Inner, program: *mut sys::bpf_program) -> Instructions {
    // SAFETY: a program of an object that is prepared; libbpf's arrays have the counts it tells.
    let (insns, func_info, line_info) = unsafe {
        (
            copy(sys::bpf_program__insns(program), sys::bpf_program__insn_cnt(program) as usize),
            copy(sys::bpf_program__func_info(program), sys::bpf_program__func_info_cnt(program) as usize),
            copy(sys::bpf_program__line_info(program), sys::bpf_program__line_info_cnt(program) as usize),
        )
    };
    let (mut referred, mut needs_module_btf, mut at) = (Vec::new(), false, 0);
    while let Some(insn) = insns.get(at..at + 8) {
        let source = insn[1] >> 4;
        let field = |from: usize| i32::from_ne_bytes([insn[from], insn[from + 1], insn[from + 2], insn[from + 3]]);
        if insn[0] == LD_IMM64 {
            if matches!(u32::from(source), sys::BPF_PSEUDO_MAP_FD | sys::BPF_PSEUDO_MAP_VALUE) && !referred.contains(&field(4)) {
                referred.push(field(4));
            }
            at += 8;
        }
        if insn[0] == CALL && u32::from(source) == sys::BPF_PSEUDO_KFUNC_CALL && (insn[2], insn[3]) != (0, 0) {
            needs_module_btf = true;
        }
        at += 8;
    }
    // SAFETY: maps of an open object.
    let name_of =
        |fd: i32| unsafe { inner.maps().find(|&map| sys::bpf_map__fd(map) == fd).map_or_else(String::new, |map| map_name(map)) };
    let btf = inner.btf();
    Instructions {
        insns: insns.into(),
        func_info: func_info.into(),
        func_info_rec_size: FUNC_INFO as u32,
        line_info: line_info.into(),
        line_info_rec_size: LINE_INFO as u32,
        btf: raw_btf(inner),
        // SAFETY: the BTF of an open object.
        btf_fd: if btf.is_null() { -1 } else { unsafe { sys::btf__fd(btf) } },
        license: inner.license.clone(),
        // SAFETY: a program of an open object.
        r#type: type_word(unsafe { sys::bpf_program__type(program) }),
        expected_attach_type: attach_type_of(program),
        flags: flags_of(program),
        maps: referred.into_iter().map(|fd| MapReference { fd, name: name_of(fd) }).collect(),
        needs_module_btf,
    }
}

unsafe fn copy<T>(at: *const T, count: usize) -> Vec<u8> {
    if at.is_null() || count == 0 {
        return Vec::new();
    }
    unsafe { std::slice::from_raw_parts(at.cast::<u8>(), count * size_of::<T>()) }.to_vec()
}

/// Relocated instructions need these flags too, which libbpf itself adds only on the way to the kernel.
pub(crate) fn flags_of(program: *mut sys::bpf_program) -> u32 {
    // SAFETY: a program of an open object.
    let (flags, section) = unsafe { (sys::bpf_program__flags(program), text(sys::bpf_program__section_name(program))) };
    let kind = section.split('/').next().unwrap_or_default();
    let frags = if kind == "xdp.frags" { sys::BPF_F_XDP_HAS_FRAGS } else { 0 };
    let sleepable = if kind.ends_with(".s") { sys::BPF_F_SLEEPABLE } else { 0 };
    flags | frags | sleepable
}

pub(crate) fn attach_type_of(program: *mut sys::bpf_program) -> Option<String> {
    // SAFETY: a program of an open object.
    let (kind, number) = unsafe { (sys::bpf_program__type(program), sys::bpf_program__expected_attach_type(program)) };
    // Zero is also cgroup_inet_ingress, which only these programs mean by it.
    (number != 0 || kind == sys::BPF_PROG_TYPE_CGROUP_SKB).then(|| attach_type_word(number))
}
