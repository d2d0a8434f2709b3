//! Whole connections: a server on a free port, and clients that pipeline, break off or break the
//! rules. What one connection does must never harm another. Several at once on one key must each be
//! heard.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::server::Server;

/// A server on a free port for as long as `client` runs; ends by SHUTDOWN.
fn with_server(client: impl FnOnce(SocketAddr)) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let server = runtime
        .block_on(Server::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), "test"))
        .expect("a free port");
    let address = server.address().expect("an address");
    let running = runtime.spawn(server.run(std::future::pending()));
    client(address);
    assert_eq!(talk(address, b"SHUTDOWN\r\nQUIT\r\n"), b"+OK\r\n+OK\r\n");
    runtime.block_on(running).expect("no panic").expect("no error");
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the server listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    stream
}

/// Sends all bytes and reads until the server closes.
fn talk(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(address);
    stream.write_all(bytes).expect("the server reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the server closes");
    answer
}

#[test]
fn a_socket_serves_pipelines_and_closes_on_errors() {
    with_server(|address| {
        let ping = b"*1\r\n$4\r\nPING\r\n".repeat(5_000);
        let answer = talk(address, &[&ping[..], b"QUIT\r\nPING\r\n"].concat());
        assert_eq!(answer, [&b"+PONG\r\n".repeat(5_000)[..], b"+OK\r\n"].concat());
        let broken: [(&[u8], &[u8]); 3] = [
            (b"PING\r\n*1\r\n$x\r\n", b"+PONG\r\n-ERR Protocol error: invalid bulk length\r\n"),
            (b"*1\r\n$99999999999999\r\n", b"-ERR Protocol error: invalid bulk length\r\n"),
            (b"*1048577\r\n", b"-ERR Protocol error: invalid multibulk length\r\n"),
        ];
        for (request, expected) in broken {
            assert_eq!(talk(address, request), expected, "{}", request.escape_ascii());
        }
        // A value that arrives in many pieces and goes back in many.
        let value = b"0123456789abcdef".repeat(200_000);
        let mut request =
            format!("*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n${}\r\n", value.len()).into_bytes();
        request.extend_from_slice(&value);
        request.extend_from_slice(b"\r\nGET big\r\nQUIT\r\n");
        let expected =
            [format!("+OK\r\n${}\r\n", value.len()).as_bytes(), &value, b"\r\n+OK\r\n"].concat();
        assert!(talk(address, &request) == expected, "the value came back changed");
        // A client that goes away in the middle of a request harms nobody.
        connect(address).write_all(b"*3\r\n$3\r\nSET\r\n$1000\r\nabc").expect("the server reads");
        assert_eq!(talk(address, b"DBSIZE\r\nQUIT\r\n"), b":1\r\n+OK\r\n");
    });
}

#[test]
fn increments_of_many_connections_all_count() {
    const CLIENTS: usize = 8;
    const EACH: usize = 2_000;
    with_server(|address| {
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(move || {
                    let mut last = 0;
                    let request = [&b"INCR counter\r\n".repeat(EACH)[..], b"QUIT\r\n"].concat();
                    let answer =
                        String::from_utf8(talk(address, &request)).expect("numbers are ASCII");
                    let values: Vec<usize> = answer
                        .lines()
                        .filter_map(|line| line.strip_prefix(':')?.parse().ok())
                        .collect();
                    assert_eq!(values.len(), EACH);
                    for value in values {
                        assert!(value > last, "{value} after {last}");
                        last = value;
                    }
                });
            }
        });
        let expected = format!("$5\r\n{}\r\n+OK\r\n", CLIENTS * EACH);
        assert_eq!(talk(address, b"GET counter\r\nQUIT\r\n"), expected.as_bytes());
    });
}
