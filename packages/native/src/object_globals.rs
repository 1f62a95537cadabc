//! The variables of an object, as its type information tells them.

use libbpf_sys as sys;
use napi_derive::napi;

use crate::error::Res;
use crate::object::{Inner, no_btf, text};

#[napi(object)]
pub struct Global {
    pub name: String,
    pub section: String,
    pub offset: u32,
    pub size: u32,
    pub type_id: u32,
    /// int, float or bytes: what one element is.
    pub kind: String,
    pub element_size: u32,
    pub count: u32,
    pub is_signed: bool,
}

/// Kinds of BTF that matter for globals (linux/btf.h).
mod kind {
    pub const INT: u32 = 1;
    pub const PTR: u32 = 2;
    pub const ARRAY: u32 = 3;
    pub const ENUM: u32 = 6;
    pub const TYPEDEF: u32 = 8;
    pub const VOLATILE: u32 = 9;
    pub const CONST: u32 = 10;
    pub const RESTRICT: u32 = 11;
    pub const VAR: u32 = 14;
    pub const DATASEC: u32 = 15;
    pub const FLOAT: u32 = 16;
    pub const TYPE_TAG: u32 = 18;
    pub const ENUM64: u32 = 19;
}

/// One type of an object's BTF, followed by the records of its kind.
#[derive(Clone, Copy)]
struct Type(*const sys::btf_type);

impl Type {
    unsafe fn by_id(btf: *const sys::btf, id: u32) -> Option<Type> {
        let at = unsafe { sys::btf__type_by_id(btf, id) };
        (!at.is_null()).then_some(Type(at))
    }

    unsafe fn kind(self) -> u32 {
        (unsafe { (*self.0).info } >> 24) & 0x1f
    }

    unsafe fn length(self) -> usize {
        (unsafe { (*self.0).info } & 0xffff) as usize
    }

    unsafe fn flag(self) -> bool {
        (unsafe { (*self.0).info } >> 31) != 0
    }

    unsafe fn referred(self) -> u32 {
        unsafe { (*self.0).__bindgen_anon_1.type_ }
    }

    unsafe fn size(self) -> u32 {
        unsafe { (*self.0).__bindgen_anon_1.size }
    }

    unsafe fn name(self, btf: *const sys::btf) -> String {
        text(unsafe { sys::btf__name_by_offset(btf, (*self.0).name_off) })
    }

    unsafe fn records<T>(self) -> *const T {
        unsafe { self.0.add(1).cast() }
    }
}

pub(crate) fn globals(inner: &Inner) -> Res<Vec<Global>> {
    let btf = inner.btf();
    if btf.is_null() {
        return Err(no_btf("list globals of", inner));
    }
    let mut found = Vec::new();
    // SAFETY: ids below the count exist, libbpf has checked the records when it parsed them.
    unsafe {
        for id in 1..sys::btf__type_cnt(btf) {
            let Some(section) = Type::by_id(btf, id).filter(|each| each.kind() == kind::DATASEC) else { continue };
            let section_name = section.name(btf);
            let is_data = [".rodata", ".data", ".bss"].iter().any(|prefix| section_name.starts_with(prefix));
            if !is_data || inner.section_map(&section_name).is_none() {
                continue;
            }
            let variables = std::slice::from_raw_parts(section.records::<sys::btf_var_secinfo>(), section.length());
            for variable in variables {
                let Some(var) = Type::by_id(btf, variable.type_).filter(|each| each.kind() == kind::VAR) else { continue };
                let element = element_of(btf, var.referred(), variable.size);
                found.push(Global {
                    name: var.name(btf),
                    section: section_name.clone(),
                    offset: variable.offset,
                    size: variable.size,
                    type_id: var.referred(),
                    kind: element.kind.into(),
                    element_size: element.size,
                    count: element.count,
                    is_signed: element.is_signed,
                });
            }
        }
    }
    Ok(found)
}

struct Element {
    kind: &'static str,
    size: u32,
    count: u32,
    is_signed: bool,
}

/// Follows names and arrays down to what one element is.
unsafe fn element_of(btf: *const sys::btf, mut id: u32, total: u32) -> Element {
    const DEPTH: usize = 32;
    const SIGNED: u32 = 1;
    let mut count = 1u32;
    let whole = Element { kind: "bytes", size: total, count: 1, is_signed: false };
    for _ in 0..DEPTH {
        let Some(each) = (unsafe { Type::by_id(btf, id) }) else { return whole };
        // SAFETY: `by_id` gave a type of this BTF; its kind says what follows it.
        unsafe {
            let size = || each.size();
            match each.kind() {
                kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => id = each.referred(),
                kind::ARRAY => {
                    let array = *each.records::<sys::btf_array>();
                    count = count.saturating_mul(array.nelems);
                    id = array.type_;
                }
                kind::INT => {
                    let encoding = (*each.records::<u32>() >> 24) & 0xf;
                    return Element { kind: "int", size: size(), count, is_signed: encoding & SIGNED != 0 };
                }
                kind::ENUM | kind::ENUM64 => return Element { kind: "int", size: size(), count, is_signed: each.flag() },
                kind::FLOAT => return Element { kind: "float", size: size(), count, is_signed: true },
                kind::PTR => return Element { kind: "int", size: 8, count, is_signed: false },
                _ if count > 0 => return Element { kind: "bytes", size: total / count, count, is_signed: false },
                _ => return whole,
            }
        }
    }
    whole
}
