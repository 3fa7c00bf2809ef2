//! Which roles an instance has, as the command line names them.

/// What this process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roles {
    /// Reads source topics.
    pub route: bool,
    /// Owns lanes and delivers what waits.
    pub retry: bool,
    /// Serves the admin endpoint.
    pub admin: bool,
}

impl Roles {
    /// All that there are.
    pub const ALL: Self = Self {
        route: true,
        retry: true,
        admin: true,
    };
    const LATER: [&'static str; 4] = ["state", "replay", "notify", "index"];

    /// Reads a list such as `route,retry`.
    ///
    /// # Errors
    /// Names the word that is no role, or not one yet.
    pub fn parse(list: &str) -> Result<Self, String> {
        let mut roles = Self {
            route: false,
            retry: false,
            admin: false,
        };
        for word in list.split(',').map(str::trim) {
            match word {
                "route" => roles.route = true,
                "retry" => roles.retry = true,
                "admin" => roles.admin = true,
                later if Self::LATER.contains(&later) => {
                    return Err(format!("the role `{later}` is not supported yet"));
                }
                other => {
                    return Err(format!(
                        "`{other}` is no role; there are route, retry and admin"
                    ));
                }
            }
        }
        Ok(roles)
    }
}
