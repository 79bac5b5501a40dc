use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

/// A peer that does to each connection, one after the other, what `script` says. Gives its port.
///
/// Its thread ends with the process.
pub fn hostile(script: impl Fn(&mut TcpStream) + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            script(&mut stream);
        }
    });
    port
}

/// What the other side says next, up to a few kilobytes.
pub fn hear(stream: &mut TcpStream) -> String {
    let mut bytes = [0; 4096];
    let length = stream.read(&mut bytes).unwrap_or(0);
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

/// Says `words`, and then `rest` again and again until nobody listens.
pub fn say_without_end(stream: &mut TcpStream, words: &[u8], rest: &[u8]) {
    let rest = rest.repeat(65536 / rest.len() + 1);
    _ = stream.write_all(words);
    while stream.write_all(&rest).is_ok() {}
}
