//! Where the API lets requests in: by addresses and sockets of its own, or by those that systemd has
//! opened for it.

use crate::config::ApiSettings;
use crate::serve::{Certificate, CertificateError, Door};
use listenfd::ListenFd;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net as unix;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::{TcpListener, UnixListener, UnixStream};

/// Who may open the socket: the daemon's user and group.
const SOCKET_MODE: u32 = 0o660;

/// Sockets that listened before the daemon started, and that it was handed (sd_listen_fds(3)). It uses
/// them in the place of opening those that `[api]` names: clients find them open also while the daemon
/// restarts, and wait.
#[derive(Debug, Default)]
pub struct Passed {
    addresses: Vec<std::net::TcpListener>,
    sockets: Vec<unix::UnixListener>,
}

impl Passed {
    /// Those that the environment tells of. They leave the environment, so that no program that the
    /// daemon runs takes them for its own; call it before there are other threads, which read it.
    ///
    /// # Errors
    /// One of them is neither a stream of TCP nor one of Unix.
    pub fn from_environment() -> io::Result<Self> {
        let mut handles = ListenFd::from_env();
        let mut passed = Self::default();
        for index in 0..handles.len() {
            if let Ok(Some(socket)) = handles.take_unix_listener(index) {
                socket.set_nonblocking(true)?;
                passed.sockets.push(socket);
            } else if let Some(address) = handles.take_tcp_listener(index)? {
                address.set_nonblocking(true)?;
                passed.addresses.push(address);
            }
        }
        Ok(passed)
    }
}

/// The open doors.
#[derive(Debug)]
pub struct Doors {
    /// For the API.
    pub doors: Vec<Door>,
    /// The address that it really listens on.
    pub address: SocketAddr,
    /// What it shows there.
    pub certificate: Option<Arc<Certificate>>,
    /// The file of the Unix socket, removed when dropped.
    pub socket: Option<SocketFile>,
}

/// A file of a Unix socket that is open, removed when dropped.
#[derive(Debug)]
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Where it cannot be removed, the next start does.
        let _ignored = fs::remove_file(&self.0);
    }
}

/// Why the API cannot let anybody in.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// The address cannot be had.
    #[error("the API cannot listen on {address}: {error} (set `listen` under `[api]`)")]
    Address {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// The Unix socket cannot be had.
    #[error("the API cannot listen on {}: {error} (set `socket` under `[api]`)", path.display())]
    Socket {
        /// Its file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A socket that was handed over cannot be used.
    #[error("the API cannot use a socket that it was handed: {0}")]
    Passed(io::Error),
    /// The certificate cannot be shown.
    #[error("the API cannot speak TLS: {0}")]
    Certificate(#[from] CertificateError),
}

/// Opens all doors of the API, but for those that were handed over.
///
/// # Errors
/// One of them cannot be opened.
pub async fn open(api: &ApiSettings, passed: Passed) -> Result<Doors, DoorError> {
    let certificate = match &api.tls {
        Some(files) => Some(Certificate::read(&files.cert_file, &files.key_file)?),
        None => None,
    };
    let handed: Result<Vec<_>, _> =
        passed.addresses.into_iter().map(TcpListener::from_std).collect();
    let mut listeners = handed.map_err(DoorError::Passed)?;
    if listeners.is_empty() {
        let refused = |error| DoorError::Address { address: api.listen, error };
        listeners.push(TcpListener::bind(api.listen).await.map_err(refused)?);
    }
    let addresses: Vec<_> = listeners.iter().filter_map(|it| it.local_addr().ok()).collect();
    let address = addresses.first().copied().unwrap_or(api.listen);
    if api.listen.port() != 0 && !addresses.contains(&api.listen) {
        let listen = api.listen;
        tracing::warn!(%address, %listen, "the socket of systemd is not at `listen`, where others look");
    }
    let address_door = |listener| Door::Address(listener, certificate.clone());
    let mut doors: Vec<Door> = listeners.into_iter().map(address_door).collect();
    let handed: Result<Vec<_>, _> =
        passed.sockets.into_iter().map(UnixListener::from_std).collect();
    let sockets = handed.map_err(DoorError::Passed)?;
    let is_handed = !sockets.is_empty();
    doors.extend(sockets.into_iter().map(Door::Socket));
    let mut socket = None;
    if let Some(path) = api.socket.as_ref().filter(|_| !is_handed) {
        let refused = |error| DoorError::Socket { path: path.clone(), error };
        doors.push(Door::Socket(bind(path).await.map_err(refused)?));
        socket = Some(SocketFile(path.clone()));
    }
    Ok(Doors { doors, address, certificate, socket })
}

/// A socket at `path`, in the place of one that a daemon left behind that was killed.
async fn bind(path: &Path) -> io::Result<UnixListener> {
    let is_socket = |path: &Path| fs::metadata(path).is_ok_and(|file| file.file_type().is_socket());
    if is_socket(path) {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                fs::remove_file(path)?
            }
            Ok(_) | Err(_) => {
                let words = "another program listens there (is watchbell running already?)";
                return Err(io::Error::new(io::ErrorKind::AddrInUse, words));
            }
        }
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE))?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::bind;
    use std::os::unix::fs::PermissionsExt;

    #[tokio::test]
    async fn a_socket_that_was_left_behind_is_replaced_and_one_in_use_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("api.sock");
        let first = bind(&path).await.unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        let in_use = bind(&path).await.unwrap_err().to_string();
        assert!(in_use.contains("running already"), "{in_use}");
        drop(first);
        bind(&path).await.unwrap();
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("api.sock");
        std::fs::write(&path, "mine").unwrap();
        assert!(bind(&path).await.is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    }
}
