//! What went wrong on a WebSocket, in words that a person understands.

use crate::check::support::{dial, excerpt};
use std::net::SocketAddr;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

/// What an error of the protocol means.
pub fn explain(error: &Error, peer: SocketAddr) -> String {
    match error {
        Error::Http(answer) => {
            format!("the server refused the WebSocket with status {}", answer.status().as_u16())
        }
        Error::Io(error) => dial::explain_io(error, peer),
        Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => explain_close(None, peer),
        Error::Protocol(ProtocolError::HandshakeIncomplete) => {
            format!("connection closed by {peer} during the WebSocket handshake")
        }
        Error::Capacity(CapacityError::MessageTooLong { size, max_size }) => format!(
            "a message of {peer} has {size} bytes, more than the {max_size} of `max_message`"
        ),
        Error::Capacity(_) => format!("what {peer} says is too large to be read: {error}"),
        other => excerpt(&format!("{peer} broke the protocol: {other}"), 300),
    }
}

/// That the other end closed, and why as far as it said.
pub fn explain_close(frame: Option<&CloseFrame>, peer: SocketAddr) -> String {
    match frame {
        None => format!("connection closed by {peer} without a reason"),
        Some(frame) => {
            let reason = excerpt(frame.reason.as_str(), 123);
            let space = if reason.is_empty() { "" } else { ": " };
            format!("the server closed the WebSocket ({}{space}{reason})", u16::from(frame.code))
        }
    }
}
