//! A password that a config has or names, the same in every plugin's config.

use serde::Deserialize;

use crate::{Context, Result};

/// `password`, or `password_env` for the environment variable that holds it, where fewer people read it than in a file. Both are optional.
#[derive(Clone, Default, Deserialize)]
pub struct Password {
    password: Option<String>,
    password_env: Option<String>,
}

impl Password {
    /// The password, if there is one; that of the variable where there are two.
    ///
    /// # Errors
    /// When the variable is not set or not granted.
    pub fn get(&self) -> Result<Option<String>> {
        let Some(name) = &self.password_env else { return Ok(self.password.clone()) };
        std::env::var(name).map(Some).with_context(|| format!("variable {name} is not set or not granted"))
    }
}
