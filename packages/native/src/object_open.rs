//! How an object is opened: options, what is set before it is loaded, and its licence.

use std::collections::HashMap;
use std::mem::zeroed;
use std::ptr::NonNull;

use libbpf_sys as sys;
use napi_derive::napi;

use crate::error::{Failure, Res, check, last_errno, printed};
use crate::handle::c_string;
use crate::object::{Inner, Stage, map_name, text};
use crate::object_code::flags_of;
use crate::program::type_number;
use crate::system::attach_type_number;

#[napi(object)]
pub struct OpenSpec {
    pub name: Option<String>,
    pub map_pin_dir: Option<String>,
    pub reuse_names: Vec<String>,
    pub reuse_fds: Vec<i32>,
    pub max_entries: HashMap<String, u32>,
    pub autoload: Option<Vec<String>>,
    pub program_types: HashMap<String, ProgramTypeSpec>,
    pub attach_targets: HashMap<String, String>,
    pub kernel_log_level: Option<u32>,
    pub kernel_btf: Option<String>,
}

#[napi(object)]
pub struct ProgramTypeSpec {
    pub r#type: String,
    pub expected_attach_type: Option<String>,
    pub flags: Option<u32>,
}

pub(crate) fn open(elf: &[u8], spec: &OpenSpec) -> Res<Inner> {
    let name = spec.name.clone().unwrap_or_else(|| "bpf".into());
    let label = format!("object {name}");
    let c_name = c_string(&name, "open", &label)?;
    let kernel_btf = spec.kernel_btf.as_deref().map(|path| c_string(path, "open", &label)).transpose()?;
    let pin_dir = spec.map_pin_dir.as_deref().map(|dir| c_string(dir, "open", &label)).transpose()?;
    // SAFETY: a plain C struct; zero is the value of every unused field.
    let mut opts: sys::bpf_object_open_opts = unsafe { zeroed() };
    opts.sz = size_of_val(&opts) as sys::size_t;
    opts.object_name = c_name.as_ptr();
    opts.pin_root_path = pin_dir.as_ref().map_or(std::ptr::null(), |dir| dir.as_ptr());
    opts.btf_custom_path = kernel_btf.as_ref().map_or(std::ptr::null(), |path| path.as_ptr());
    opts.kernel_log_level = spec.kernel_log_level.unwrap_or(0);
    // SAFETY: bytes and options outlive the call, after which libbpf has copied what it needs.
    let (object, said) = printed(|| unsafe { sys::bpf_object__open_mem(elf.as_ptr().cast(), elf.len() as sys::size_t, &opts) });
    let errno = last_errno();
    let Some(object) = NonNull::new(object) else {
        // These two say that the object has no BTF where its maps need some.
        let is_btf = ["BTF is required", "legacy map definitions"].iter().any(|words| said.warnings.contains(words));
        let hint = if is_btf { "no-btf" } else { "" };
        let text = if is_btf { "it has no BTF; compile with -g".into() } else { String::new() };
        return Err(Failure { hint, text, warnings: said.warnings, ..Failure::new("open", label, errno) });
    };
    let mut inner =
        Inner { object, name, license: license(elf), stage: Stage::Open, logs: HashMap::new(), pinned_by_name: Vec::new() };
    // SAFETY: maps of an open object.
    inner.pinned_by_name = inner
        .maps()
        .filter(|&map| unsafe { !sys::bpf_map__pin_path(map).is_null() })
        .map(|map| unsafe { map_name(map) })
        .collect();
    configure(&mut inner, spec)?;
    Ok(inner)
}

fn configure(inner: &mut Inner, spec: &OpenSpec) -> Res<()> {
    let label = inner.label();
    if spec.map_pin_dir.is_none() {
        for map in inner.maps() {
            // SAFETY: a map of an open object.
            check(unsafe { sys::bpf_map__set_pin_path(map, std::ptr::null()) }, "open", &label)?;
        }
    }
    for (name, &max_entries) in &spec.max_entries {
        let map = inner.find_map(name, "size")?;
        // SAFETY: a map of an open object.
        check(unsafe { sys::bpf_map__set_max_entries(map, max_entries) }, "size", format!("map {name} of {label}"))?;
    }
    for (name, &fd) in spec.reuse_names.iter().zip(&spec.reuse_fds) {
        let map = inner.find_map(name, "reuse")?;
        // SAFETY: a map of an open object; libbpf duplicates the descriptor.
        let (ret, said) = printed(|| unsafe { sys::bpf_map__reuse_fd(map, fd) });
        let object = format!("map {name} of {label}");
        check(ret, "reuse", object).map_err(|failure| Failure { warnings: said.warnings, ..failure })?;
    }
    for (name, kind) in &spec.program_types {
        let object = format!("program {name} of {label}");
        let program = inner.find_program(name, "type")?;
        // SAFETY: a program of an open object.
        check(unsafe { sys::bpf_program__set_type(program, type_number(&kind.r#type, "type", &object)?) }, "type", &object)?;
        let attach_type = kind.expected_attach_type.as_deref();
        let number = attach_type.map_or(Ok(0), |text| attach_type_number(text, "type", &object))?;
        // SAFETY: as above.
        check(unsafe { sys::bpf_program__set_expected_attach_type(program, number) }, "type", &object)?;
        // libbpf loads xdp.frags/NAME, a section that it does not know, without the flag of xdp.frags.
        // SAFETY: as above.
        check(unsafe { sys::bpf_program__set_flags(program, flags_of(program) | kind.flags.unwrap_or(0)) }, "type", &object)?;
    }
    for (name, function) in &spec.attach_targets {
        let object = format!("program {name} of {label}");
        let program = inner.find_program(name, "target")?;
        let function = c_string(function, "target", &object)?;
        // SAFETY: a program of an open object; libbpf looks the name up and keeps its number.
        let (ret, said) = printed(|| unsafe { sys::bpf_program__set_attach_target(program, 0, function.as_ptr()) });
        check(ret, "target", object).map_err(|failure| Failure { warnings: said.warnings, ..failure })?;
    }
    if let Some(wanted) = &spec.autoload {
        for name in wanted {
            inner.find_program(name, "load")?;
        }
        for program in inner.programs() {
            // SAFETY: a program of an open object.
            let name = text(unsafe { sys::bpf_program__name(program) });
            // SAFETY: as above.
            check(unsafe { sys::bpf_program__set_autoload(program, wanted.contains(&name)) }, "open", &label)?;
        }
    }
    Ok(())
}

/// The license section, which libbpf reads but does not tell.
fn license(elf: &[u8]) -> String {
    find_section(elf, "license").map_or_else(String::new, crate::system::text_of)
}

/// A section of a 64-bit ELF in this machine's byte order, which libbpf has already accepted.
fn find_section<'a>(elf: &'a [u8], wanted: &str) -> Option<&'a [u8]> {
    let u16_at = |at: usize| Some(u16::from_ne_bytes(elf.get(at..at + 2)?.try_into().ok()?) as usize);
    let u32_at = |at: usize| Some(u32::from_ne_bytes(elf.get(at..at + 4)?.try_into().ok()?) as usize);
    let u64_at = |at: usize| usize::try_from(u64::from_ne_bytes(elf.get(at..at.checked_add(8)?)?.try_into().ok()?)).ok();
    let (headers, size, count, names) = (u64_at(40)?, u16_at(58)?, u16_at(60)?, u16_at(62)?);
    let header = |index: usize| headers.checked_add(index.checked_mul(size)?);
    let body = |index: usize| {
        let at = header(index)?;
        let from = u64_at(at.checked_add(24)?)?;
        elf.get(from..from.checked_add(u64_at(at.checked_add(32)?)?)?)
    };
    let names = body(names)?;
    (0..count).find_map(|index| {
        let name = names.get(u32_at(header(index)?)?..)?;
        (name.starts_with(wanted.as_bytes()) && name.get(wanted.len()) == Some(&0)).then(|| body(index))?
    })
}
