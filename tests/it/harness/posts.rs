use super::{PATIENCE, eventually};
use serde_json::Value;
use std::fmt;
use std::sync::{Arc, Mutex};

/// A message as people see it by now.
#[derive(Clone, Debug)]
pub struct Post {
    /// What the service calls it.
    pub id: String,
    /// The message that it answers.
    pub parent: Option<String>,
    /// All that a person reads in it.
    pub text: String,
    /// The request that gave it this text.
    pub body: Value,
    /// How often it was changed.
    pub edits: usize,
}

impl Post {
    /// Whether a person reads all of these words.
    pub fn says(&self, words: &[&str]) -> bool {
        words.iter().all(|word| self.text.contains(word))
    }
}

/// The messages of a chat, as people see them by now.
#[derive(Clone, Default)]
pub struct Posts(Arc<Mutex<Vec<Post>>>);

impl fmt::Debug for Posts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Posts({})", self.all().len())
    }
}

impl Posts {
    /// All of them, the oldest first.
    pub fn all(&self) -> Vec<Post> {
        self.0.lock().unwrap().clone()
    }

    /// One of them.
    pub fn get(&self, id: &str) -> Option<Post> {
        self.0.lock().unwrap().iter().find(|post| post.id == id).cloned()
    }

    /// Adds one.
    pub fn add(&self, id: &str, parent: Option<&str>, text: String, body: Value) {
        let parent = parent.map(str::to_owned);
        self.0.lock().unwrap().push(Post { id: id.to_owned(), parent, text, body, edits: 0 });
    }

    /// Changes one that is there.
    pub fn edit(&self, id: &str, text: String, body: Value) {
        let mut posts = self.0.lock().unwrap();
        let post = posts.iter_mut().find(|post| post.id == id).expect("a post");
        (post.text, post.body) = (text, body);
        post.edits += 1;
    }

    /// Somebody deletes one.
    pub fn delete(&self, id: &str) {
        self.0.lock().unwrap().retain(|post| post.id != id);
    }

    /// Waits for one that says all of `words`.
    pub async fn wait_for(&self, words: &[&str]) -> Post {
        let found = || self.all().into_iter().find(|post| post.says(words));
        let what = format!("a message that says {words:?}");
        let waiting = eventually(&what, PATIENCE * 2, async || found());
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(post) => post,
            Err(_) => panic!("waited in vain for {what}; there are {:#?}", self.all()),
        }
    }
}
