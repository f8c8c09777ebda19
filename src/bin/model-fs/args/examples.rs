//! What follows the flags in each verb's help: lines to begin with.

pub(super) const AFTER_ALL: &str = "\
Exit codes:
  0  done
  1  could not do it: I/O, permissions, no FUSE, ...
  2  wrong usage
  3  the signature is invalid, malformed, or by nobody trusted
  4  the signature holds, the content doesn't match it

Environment:
  MODEL_FS_LOG  what is logged, as RUST_LOG: model_fs=debug
  NO_COLOR      no colours, if set

Examples:
  model-fs demo
  model-fs sign ./model --private-key key.pem
  model-fs mount ./model /mnt/model --public-key pub.pem";

pub(super) const MOUNT: &str = "\
Examples:
  model-fs mount ./model /mnt/model --public-key pub.pem
  model-fs mount ./model /mnt/model
      by signers of the trust store: see \"model-fs trust list\"
  model-fs mount ./model /mnt/model --allow-other --keep-alive
  model-fs mount ./model /mnt/model --repair-from /backup/model --prefetch all
  model-fs umount /mnt/model";

pub(super) const UMOUNT: &str = "\
Examples:
  model-fs umount /mnt/model";

pub(super) const WARM: &str = "\
Examples:
  model-fs warm /mnt/model
  model-fs warm /mnt/model weights.gguf --wait";

pub(super) const ATTEST: &str = "\
Examples:
  model-fs attest /mnt/model --private-key host.pem --output served.json
  model-fs attest /mnt/model --private-key host.pem --with-violations";

pub(super) const UPGRADE: &str = "\
Examples:
  model-fs upgrade /mnt/model";

pub(super) const STATUS: &str = "\
Examples:
  model-fs status
  model-fs status /mnt/model --json
  model-fs status --check";

pub(super) const VERIFY: &str = "\
Examples:
  model-fs verify ./model --public-key pub.pem
  model-fs verify ./model --identity me@example.org \\
      --identity-provider https://accounts.example.org";

pub(super) const SIGN: &str = "\
Examples:
  model-fs sign ./model --private-key key.pem
  openssl ecparam -name prime256v1 -genkey -noout -out key.pem
  openssl pkey -in key.pem -pubout -out pub.pem

Keys on tokens (PKCS #11) need a build with the feature pkcs11.";

pub(super) const INDEX: &str = "\
Examples:
  model-fs index ./model --public-key pub.pem
  model-fs index ./model --clean";

pub(super) const INSPECT: &str = "\
Examples:
  model-fs inspect ./model
  model-fs inspect ./model/model.sig --json";

pub(super) const TRUST: &str = "\
Examples:
  model-fs trust add --name team --public-key pub.pem
  model-fs trust list
  model-fs trust remove team";
