use crate::recover::{Action, Order, Tools};
use async_trait::async_trait;
use std::sync::Arc;

/// An action that says what `action` would do, and leaves it at that.
pub fn dry_run(action: Arc<dyn Action>) -> Arc<dyn Action> {
    Arc::new(DryRun(action))
}

#[derive(Debug)]
struct DryRun(Arc<dyn Action>);

#[async_trait]
impl Action for DryRun {
    fn describe(&self, order: &Order) -> String {
        self.0.describe(order)
    }

    async fn run(&self, _tools: &Tools, order: &Order) -> Result<String, String> {
        Ok(format!("dry run: would {}", self.describe(order)))
    }
}
