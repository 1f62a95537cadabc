//! What the plug-in answers its runtime.

use crate::chain::VERSIONS;
use crate::json::quote;

/// Numbers of the CNI specification.
pub const INCOMPATIBLE: u32 = 1;
pub const WRONG_ENVIRONMENT: u32 = 4;
pub const UNREADABLE: u32 = 6;
pub const WRONG_CONFIGURATION: u32 = 7;
pub const TRY_AGAIN: u32 = 11;
pub const NOT_AVAILABLE: u32 = 50;
/// Ours: the policy of the pod cannot be in force at an interface of this kind.
pub const NOT_JUDGED: u32 = 100;

#[derive(Debug)]
pub struct Failure {
    pub code: u32,
    pub message: String,
    pub details: String,
}

impl Failure {
    pub fn new(code: u32, message: impl Into<String>, details: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: details.into() }
    }

    pub fn render(&self, version: &str) -> String {
        let Self { code, message, details } = self;
        format!(
            "{{\"cniVersion\":{},\"code\":{code},\"msg\":{},\"details\":{}}}\n",
            quote(version),
            quote(message),
            quote(details)
        )
    }
}

pub fn versions() -> String {
    let all: Vec<String> = VERSIONS.iter().map(|each| quote(each)).collect();
    format!("{{\"cniVersion\":\"1.1.0\",\"supportedVersions\":[{}]}}\n", all.join(","))
}
