//! Unix sockets as files: what a killed agent left behind is removed, owner and mode are set.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown};
use std::path::Path;

use crate::config::UnixSockets;
use crate::env::ListenAddress;

/// Removes a socket that is in the way, as Consul does. Other files stay, and listening then fails.
///
/// # Errors
/// It can't be removed.
pub(super) async fn clear_way(address: &ListenAddress) -> io::Result<()> {
    on_path(address, |path| match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => fs::remove_file(path),
        // Nothing there, or nothing that is ours to remove.
        Ok(_) | Err(_) => Ok(()),
    })
    .await
}

/// Gives a socket the owner and mode that the configuration names.
///
/// # Errors
/// There is no such user, the group or mode is no number, or the system refuses.
pub(super) async fn hand_over(address: &ListenAddress, wanted: &UnixSockets) -> io::Result<()> {
    let UnixSockets { user, group, mode } = wanted.clone();
    on_path(address, move |path| {
        let owner = if user.is_empty() { None } else { Some(user_id(&user)?) };
        let group = if group.is_empty() { None } else { Some(number(&group, 10, "group")?) };
        if owner.is_some() || group.is_some() {
            chown(path, owner, group)?;
        }
        match mode.as_str() {
            "" => Ok(()),
            mode => fs::set_permissions(path, Permissions::from_mode(number(mode, 8, "mode")?)),
        }
    })
    .await
}

/// Runs `act` on the path of a Unix socket, where it may block.
async fn on_path(
    address: &ListenAddress,
    act: impl FnOnce(&Path) -> io::Result<()> + Send + 'static,
) -> io::Result<()> {
    match address {
        ListenAddress::Tcp(_) => Ok(()),
        ListenAddress::Unix(path) => {
            let path = path.clone();
            tokio::task::spawn_blocking(move || act(&path)).await.map_err(io::Error::other)?
        }
    }
}

/// The number of a user, who may be named by it or by name.
fn user_id(user: &str) -> io::Result<u32> {
    if let Ok(id) = user.parse() {
        return Ok(id);
    }
    let users = fs::read_to_string("/etc/passwd")?;
    let mut entries = users.lines().map(|line| line.split(':'));
    let entry = entries.find_map(|mut fields| (fields.next() == Some(user)).then(|| fields.nth(1)).flatten());
    entry
        .and_then(|id| id.parse().ok())
        .ok_or_else(|| io::Error::other(format!("failed to look up user {user}: user: unknown user {user}")))
}

fn number(text: &str, radix: u32, what: &str) -> io::Result<u32> {
    u32::from_str_radix(text, radix).map_err(|_| io::Error::other(format!("invalid {what} specified: {text}")))
}
