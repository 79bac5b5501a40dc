use super::free_port;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

type Serve = dyn Fn(TcpListener) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync;

/// A server inside the test process, on a thread and a runtime of its own: so it can be stopped
/// with all its connections, and stalled as if by SIGSTOP.
pub struct Local {
    /// Where it listens.
    pub port: u16,
    serve: Arc<Serve>,
    running: Option<Running>,
}

struct Running {
    orders: UnboundedSender<Order>,
    stalled: Arc<Stalled>,
    thread: JoinHandle<()>,
}

enum Order {
    Stall,
    Stop,
}

#[derive(Default)]
struct Stalled {
    now: Mutex<bool>,
    changed: Condvar,
}

impl Local {
    /// Starts `serve` on a free port.
    pub fn start<F>(serve: impl Fn(TcpListener) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let serve: Arc<Serve> = Arc::new(move |listener| Box::pin(serve(listener)));
        let mut server = Self { port: free_port(), serve, running: None };
        server.start_again();
        server
    }

    /// Starts an axum router on a free port.
    pub fn router(router: axum::Router) -> Self {
        Self::start(move |listener| {
            let router = router.clone();
            async move {
                axum::serve(listener, router).await.ok();
            }
        })
    }

    /// Starts it on its port after [`Local::stop`].
    pub fn start_again(&mut self) {
        let (orders, incoming) = unbounded_channel();
        let stalled = Arc::new(Stalled::default());
        let (serve, port) = (Arc::clone(&self.serve), self.port);
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = std::thread::spawn({
            let stalled = Arc::clone(&stalled);
            move || {
                let runtime =
                    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async move {
                    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
                    ready.send(()).unwrap();
                    tokio::select! {
                        () = serve(listener) => {}
                        () = obey(incoming, &stalled) => {}
                    }
                });
            }
        });
        is_ready.recv_timeout(Duration::from_secs(10)).expect("a server that listens");
        self.running = Some(Running { orders, stalled, thread });
    }

    /// Closes its port and all its connections.
    pub fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stalled.set(false);
            running.orders.send(Order::Stop).ok();
            running.thread.join().ok();
        }
    }

    /// Lets it take connections and never answer.
    pub fn stall(&self) {
        if let Some(running) = &self.running {
            running.stalled.set(true);
            running.orders.send(Order::Stall).ok();
        }
    }

    /// Undoes [`Local::stall`].
    pub fn resume(&self) {
        if let Some(running) = &self.running {
            running.stalled.set(false);
        }
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Local({})", self.port)
    }
}

impl Stalled {
    fn set(&self, stalled: bool) {
        *self.now.lock().unwrap() = stalled;
        self.changed.notify_all();
    }

    /// Blocks the whole thread, and with it the server, on purpose.
    fn wait_for_the_end(&self) {
        let now = self.now.lock().unwrap();
        drop(self.changed.wait_while(now, |stalled| *stalled).unwrap());
    }
}

async fn obey(mut orders: UnboundedReceiver<Order>, stalled: &Stalled) {
    while let Some(Order::Stall) = orders.recv().await {
        stalled.wait_for_the_end();
    }
}
