//! What single steps of the read path cost.
//!
//! ```sh
//! cargo bench --bench micro
//! ```

fn main() {
    divan::main();
}
