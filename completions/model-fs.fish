# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_model_fs_global_optspecs
    string join \n v/verbose log-file= log-format= h/help V/version
end

function __fish_model_fs_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_model_fs_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_model_fs_using_subcommand
    set -l cmd (__fish_model_fs_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c model-fs -n "__fish_model_fs_needs_command" -l log-file -d 'Append events to FILE [default: stderr; in the background the system log]' -r -F
complete -c model-fs -n "__fish_model_fs_needs_command" -l log-format -d 'Form of events on stderr and in a log file' -r -f -a "text\t'A line for people'
json\t'A line of JSON'"
complete -c model-fs -n "__fish_model_fs_needs_command" -s v -l verbose -d 'More log messages (twice: debugging)'
complete -c model-fs -n "__fish_model_fs_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c model-fs -n "__fish_model_fs_needs_command" -s V -l version -d 'Print version'
complete -c model-fs -n "__fish_model_fs_needs_command" -f -a "mount" -d 'Mount a signed model read-only; check it as it is read'
complete -c model-fs -n "__fish_model_fs_needs_command" -f -a "umount" -d 'Unmount a model'
complete -c model-fs -n "__fish_model_fs_needs_command" -f -a "upgrade" -d 'Have a mount served by this program as it is installed now, while it is in use'
complete -c model-fs -n "__fish_model_fs_needs_command" -f -a "status" -d 'Show what a mount has done and seen'
complete -c model-fs -n "__fish_model_fs_needs_command" -f -a "warm" -d 'Read a mounted model, so that others find it in memory'
complete -c model-fs -n "__fish_model_fs_needs_command" -f -a "attest" -d 'State what a mount has served and verified, signed with a key of this host'
complete -c model-fs -n "__fish_model_fs_needs_command" -f -a "verify" -d 'Check a model, all of it, now'
complete -c model-fs -n "__fish_model_fs_needs_command" -f -a "sign" -d 'Sign a model'
complete -c model-fs -n "__fish_model_fs_needs_command" -f -a "index" -d 'Prepare a model so that mounting it reads nothing but what is asked for'
complete -c model-fs -n "__fish_model_fs_needs_command" -f -a "inspect" -d 'Show what a signature says, without verifying anything'
complete -c model-fs -n "__fish_model_fs_needs_command" -f -a "trust" -d 'Manage trusted signers'
complete -c model-fs -n "__fish_model_fs_needs_command" -f -a "demo" -d 'Show the whole story on a throw-away model'
complete -c model-fs -n "__fish_model_fs_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c model-fs -n "__fish_model_fs_using_subcommand mount" -l signature -d 'The signature [default: MODEL/model.sig; MODEL.sig for a file]' -r -F
complete -c model-fs -n "__fish_model_fs_using_subcommand mount" -l ignore-paths -d 'Leave PATH out, absolute or relative to MODEL (repeatable)' -r -F
complete -c model-fs -n "__fish_model_fs_using_subcommand mount" -s o -d 'Mount options, as for mount(8)' -r
complete -c model-fs -n "__fish_model_fs_using_subcommand mount" -l cache-size -d 'Cache size, of verified data [default: 256MiB]' -r
complete -c model-fs -n "__fish_model_fs_using_subcommand mount" -l index-dir -d 'Table store [default: ~/.cache/model-fs/index]' -r -F
complete -c model-fs -n "__fish_model_fs_using_subcommand mount" -l threads -d 'Threads that take requests from the kernel' -r
complete -c model-fs -n "__fish_model_fs_using_subcommand mount" -l lane -d 'How the kernel shows the model: by FUSE, or through the page cache of its own EROFS, where that is possible' -r -f -a "auto\t'FUSE, until the other lane is complete'
fuse\t'FUSE'
pages\t'EROFS; FUSE where that can\'t be'"
complete -c model-fs -n "__fish_model_fs_using_subcommand mount" -l on-violation -d 'What to do when content isn\'t what was signed: fail that read, or every read from then on' -r -f -a "eio\t'That read fails'
lockdown\t'Every read fails from then on'"
complete -c model-fs -n "__fish_model_fs_using_subcommand mount" -l on-violation-exec -d 'Program to run when content isn\'t what was signed: an absolute path; no shell, no arguments, the facts are in its environment' -r -F
complete -c model-fs -n "__fish_model_fs_using_subcommand mount" -l repair-from -d 'Second place for content that the model gives wrong, or not at all, while it is mounted: the same files under the same names. It needs no trust; may be given several times' -r -F
complete -c model-fs -n "__fish_model_fs_using_subcommand mount" -l prefetch -d 'What to do in the background, while nothing else has to be done: prove how each file is checked, or also read and check all of it, so that readers find it in memory' -r -f -a "none\t'Nothing'
tables\t'Chunk tables are proved'
all\t'All content is read'"
complete -c model-fs -n "__fish_model_fs_using_subcommand mount" -l pid-file -d 'Write the number of the process that serves to FILE once it does; removed at the end' -r -F
complete -c model-fs -n "__fish_model_fs_using_subcommand mount" -l metrics-listen -d 'Serve metrics for Prometheus by HTTP, at /metrics: a port of this host (9100), or an address that others can reach (0.0.0.0:9100)' -r
complete -c model-fs -n "__fish_model_fs_using_subcommand mount" -l metrics-file -d 'Write metrics to FILE every few seconds, for the textfile collector of Prometheus\' node exporter: a file of its own for each mount, whose name ends in .prom' -r -F
complete -c model-fs -n "__fish_model_fs_using_subcommand mount" -l public-key -d 'Trust signatures by this key' -r -F
complete -c model-fs -n "__fish_model_fs_using_subcommand mount" -l certificate-chain -d 'Trust signatures by certificates under these CA certificates' -r -F
complete -c model-fs -n "__fish_model_fs_using_subcommand mount" -l identity -d 'Trust Sigstore signatures by this identity' -r
complete -c model-fs -n "__fish_model_fs_using_subcommand mount" -l identity-provider -d 'Who vouches for the identity' -r
complete -c model-fs -n "__fish_model_fs_using_subcommand mount" -l trust-config -d 'Sigstore\'s keys and certificates, instead of the built-in ones' -r -F
complete -c model-fs -n "__fish_model_fs_using_subcommand mount" -l log-file -d 'Append events to FILE [default: stderr; in the background the system log]' -r -F
complete -c model-fs -n "__fish_model_fs_using_subcommand mount" -l log-format -d 'Form of events on stderr and in a log file' -r -f -a "text\t'A line for people'
json\t'A line of JSON'"
complete -c model-fs -n "__fish_model_fs_using_subcommand mount" -l ignore-unsigned-files -d 'Accept files that the signature doesn\'t name, and hide them'
complete -c model-fs -n "__fish_model_fs_using_subcommand mount" -l foreground -d 'Stay until unmounted or signalled'
complete -c model-fs -n "__fish_model_fs_using_subcommand mount" -l allow-other -d 'Let other users look into the mount'
complete -c model-fs -n "__fish_model_fs_using_subcommand mount" -l keep-alive -d 'Go on when the process that serves is killed: another process keeps the mount, and starts the next'
complete -c model-fs -n "__fish_model_fs_using_subcommand mount" -s v -l verbose -d 'More log messages (twice: debugging)'
complete -c model-fs -n "__fish_model_fs_using_subcommand mount" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c model-fs -n "__fish_model_fs_using_subcommand umount" -l log-file -d 'Append events to FILE [default: stderr; in the background the system log]' -r -F
complete -c model-fs -n "__fish_model_fs_using_subcommand umount" -l log-format -d 'Form of events on stderr and in a log file' -r -f -a "text\t'A line for people'
json\t'A line of JSON'"
complete -c model-fs -n "__fish_model_fs_using_subcommand umount" -s v -l verbose -d 'More log messages (twice: debugging)'
complete -c model-fs -n "__fish_model_fs_using_subcommand umount" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c model-fs -n "__fish_model_fs_using_subcommand upgrade" -l log-file -d 'Append events to FILE [default: stderr; in the background the system log]' -r -F
complete -c model-fs -n "__fish_model_fs_using_subcommand upgrade" -l log-format -d 'Form of events on stderr and in a log file' -r -f -a "text\t'A line for people'
json\t'A line of JSON'"
complete -c model-fs -n "__fish_model_fs_using_subcommand upgrade" -s v -l verbose -d 'More log messages (twice: debugging)'
complete -c model-fs -n "__fish_model_fs_using_subcommand upgrade" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c model-fs -n "__fish_model_fs_using_subcommand status" -l log-file -d 'Append events to FILE [default: stderr; in the background the system log]' -r -F
complete -c model-fs -n "__fish_model_fs_using_subcommand status" -l log-format -d 'Form of events on stderr and in a log file' -r -f -a "text\t'A line for people'
json\t'A line of JSON'"
complete -c model-fs -n "__fish_model_fs_using_subcommand status" -l json -d 'Print one JSON document: an object, or without MOUNTPOINT an array of them'
complete -c model-fs -n "__fish_model_fs_using_subcommand status" -l watch -d 'Look again every second, until interrupted; with --json, one document a line'
complete -c model-fs -n "__fish_model_fs_using_subcommand status" -l check -d 'For scripts: show nothing but what --json does, and exit with 4 if a violation was met, 1 if content couldn\'t be had or a mount can\'t be asked, else 0'
complete -c model-fs -n "__fish_model_fs_using_subcommand status" -l status-child -d 'This process is the one that asks the mount, which is its stdin'
complete -c model-fs -n "__fish_model_fs_using_subcommand status" -s v -l verbose -d 'More log messages (twice: debugging)'
complete -c model-fs -n "__fish_model_fs_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c model-fs -n "__fish_model_fs_using_subcommand warm" -l log-file -d 'Append events to FILE [default: stderr; in the background the system log]' -r -F
complete -c model-fs -n "__fish_model_fs_using_subcommand warm" -l log-format -d 'Form of events on stderr and in a log file' -r -f -a "text\t'A line for people'
json\t'A line of JSON'"
complete -c model-fs -n "__fish_model_fs_using_subcommand warm" -l wait -d 'Wait until all is read; without it, that is done in the background'
complete -c model-fs -n "__fish_model_fs_using_subcommand warm" -s v -l verbose -d 'More log messages (twice: debugging)'
complete -c model-fs -n "__fish_model_fs_using_subcommand warm" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c model-fs -n "__fish_model_fs_using_subcommand attest" -l private-key -d 'The key to sign with' -r -F
complete -c model-fs -n "__fish_model_fs_using_subcommand attest" -l password-file -d 'File with the password of the key, or the PIN of the token' -r -F
complete -c model-fs -n "__fish_model_fs_using_subcommand attest" -l output -d 'Write the statement to FILE [default: standard output]' -r -F
complete -c model-fs -n "__fish_model_fs_using_subcommand attest" -l log-file -d 'Append events to FILE [default: stderr; in the background the system log]' -r -F
complete -c model-fs -n "__fish_model_fs_using_subcommand attest" -l log-format -d 'Form of events on stderr and in a log file' -r -f -a "text\t'A line for people'
json\t'A line of JSON'"
complete -c model-fs -n "__fish_model_fs_using_subcommand attest" -l with-violations -d 'State violations too, instead of refusing with exit code 4'
complete -c model-fs -n "__fish_model_fs_using_subcommand attest" -l force -d 'Replace a FILE that is no statement by the same key'
complete -c model-fs -n "__fish_model_fs_using_subcommand attest" -s v -l verbose -d 'More log messages (twice: debugging)'
complete -c model-fs -n "__fish_model_fs_using_subcommand attest" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c model-fs -n "__fish_model_fs_using_subcommand verify" -l signature -d 'The signature [default: MODEL/model.sig; MODEL.sig for a file]' -r -F
complete -c model-fs -n "__fish_model_fs_using_subcommand verify" -l ignore-paths -d 'Leave PATH out, absolute or relative to MODEL (repeatable)' -r -F
complete -c model-fs -n "__fish_model_fs_using_subcommand verify" -l index-dir -d 'Table store [default: ~/.cache/model-fs/index]' -r -F
complete -c model-fs -n "__fish_model_fs_using_subcommand verify" -l public-key -d 'Trust signatures by this key' -r -F
complete -c model-fs -n "__fish_model_fs_using_subcommand verify" -l certificate-chain -d 'Trust signatures by certificates under these CA certificates' -r -F
complete -c model-fs -n "__fish_model_fs_using_subcommand verify" -l identity -d 'Trust Sigstore signatures by this identity' -r
complete -c model-fs -n "__fish_model_fs_using_subcommand verify" -l identity-provider -d 'Who vouches for the identity' -r
complete -c model-fs -n "__fish_model_fs_using_subcommand verify" -l trust-config -d 'Sigstore\'s keys and certificates, instead of the built-in ones' -r -F
complete -c model-fs -n "__fish_model_fs_using_subcommand verify" -l log-file -d 'Append events to FILE [default: stderr; in the background the system log]' -r -F
complete -c model-fs -n "__fish_model_fs_using_subcommand verify" -l log-format -d 'Form of events on stderr and in a log file' -r -f -a "text\t'A line for people'
json\t'A line of JSON'"
complete -c model-fs -n "__fish_model_fs_using_subcommand verify" -l ignore-unsigned-files -d 'Accept files that the signature doesn\'t name, and hide them'
complete -c model-fs -n "__fish_model_fs_using_subcommand verify" -l json -d 'Print one JSON document'
complete -c model-fs -n "__fish_model_fs_using_subcommand verify" -s v -l verbose -d 'More log messages (twice: debugging)'
complete -c model-fs -n "__fish_model_fs_using_subcommand verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c model-fs -n "__fish_model_fs_using_subcommand sign" -l signature -d 'The signature [default: MODEL/model.sig; MODEL.sig for a file]' -r -F
complete -c model-fs -n "__fish_model_fs_using_subcommand sign" -l private-key -d 'The key to sign with' -r -F
complete -c model-fs -n "__fish_model_fs_using_subcommand sign" -l password-file -d 'File with the password of the key, or the PIN of the token' -r -F
complete -c model-fs -n "__fish_model_fs_using_subcommand sign" -l signing-certificate -d 'The certificate of the key' -r -F
complete -c model-fs -n "__fish_model_fs_using_subcommand sign" -l certificate-chain -d 'Certificates above it (repeatable)' -r -F
complete -c model-fs -n "__fish_model_fs_using_subcommand sign" -l hash -d 'Hash of the content; sha256 is what every verifier knows; blake3 alone is faster to sign, and the Python reference implementation can\'t verify it [default: sha256]' -r -f -a "blake3\t''
sha256\t''
blake2b\t''"
complete -c model-fs -n "__fish_model_fs_using_subcommand sign" -l shard-size -d 'Sign pieces of SIZE instead of whole files' -r
complete -c model-fs -n "__fish_model_fs_using_subcommand sign" -l compat -d 'Sign as another implementation can verify: with sha256, and with its names for shards and for a single file' -r -f -a "reference\t'The reference implementation, Python\'s `model_signing`'"
complete -c model-fs -n "__fish_model_fs_using_subcommand sign" -l ignore-paths -d 'Leave PATH out, absolute or relative to MODEL, and what lies beneath it (repeatable). Exact: it has no patterns' -r -F
complete -c model-fs -n "__fish_model_fs_using_subcommand sign" -l index-dir -d 'Table store [default: ~/.cache/model-fs/index]' -r -F
complete -c model-fs -n "__fish_model_fs_using_subcommand sign" -l identity-token -d 'Sign as whom this identity token names. Other users of this host can see it in the list of processes: prefer a file' -r
complete -c model-fs -n "__fish_model_fs_using_subcommand sign" -l identity-token-file -d 'Sign as whom the identity token in FILE names' -r -F
complete -c model-fs -n "__fish_model_fs_using_subcommand sign" -l trust-config -d 'A private Sigstore instance: its client trust configuration, or its trusted root, which takes the URLs below [default: the public-good instance]' -r -F
complete -c model-fs -n "__fish_model_fs_using_subcommand sign" -l fulcio-url -d 'Its certificate authority, if not the one that the configuration names' -r
complete -c model-fs -n "__fish_model_fs_using_subcommand sign" -l rekor-url -d 'Its log, if not the one that the configuration names' -r
complete -c model-fs -n "__fish_model_fs_using_subcommand sign" -l rekor-version -d 'Version of the interface of that log [default: 1]' -r -f -a "1\t''
2\t''"
complete -c model-fs -n "__fish_model_fs_using_subcommand sign" -l tsa-url -d 'Its timestamp authority, if not the one that the configuration names' -r
complete -c model-fs -n "__fish_model_fs_using_subcommand sign" -l log-file -d 'Append events to FILE [default: stderr; in the background the system log]' -r -F
complete -c model-fs -n "__fish_model_fs_using_subcommand sign" -l log-format -d 'Form of events on stderr and in a log file' -r -f -a "text\t'A line for people'
json\t'A line of JSON'"
complete -c model-fs -n "__fish_model_fs_using_subcommand sign" -l plain -d 'Leave out what is said of files beside their digests: sizes and BLAKE3 digests, which other verifiers pass over, and with which any host can mount at once'
complete -c model-fs -n "__fish_model_fs_using_subcommand sign" -l force -d 'Replace a signature by another signer, or a file that is no signature'
complete -c model-fs -n "__fish_model_fs_using_subcommand sign" -l allow-symlinks -d 'Sign what symbolic links point to'
complete -c model-fs -n "__fish_model_fs_using_subcommand sign" -l no-tables -d 'Don\'t write chunk tables into the model (MODEL/.model-fs); other hosts then read it once before they can mount it lazily'
complete -c model-fs -n "__fish_model_fs_using_subcommand sign" -s v -l verbose -d 'More log messages (twice: debugging)'
complete -c model-fs -n "__fish_model_fs_using_subcommand sign" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c model-fs -n "__fish_model_fs_using_subcommand index" -l signature -d 'The signature [default: MODEL/model.sig; MODEL.sig for a file]' -r -F
complete -c model-fs -n "__fish_model_fs_using_subcommand index" -l index-dir -d 'Table store [default: ~/.cache/model-fs/index]' -r -F
complete -c model-fs -n "__fish_model_fs_using_subcommand index" -l public-key -d 'Trust signatures by this key' -r -F
complete -c model-fs -n "__fish_model_fs_using_subcommand index" -l certificate-chain -d 'Trust signatures by certificates under these CA certificates' -r -F
complete -c model-fs -n "__fish_model_fs_using_subcommand index" -l identity -d 'Trust Sigstore signatures by this identity' -r
complete -c model-fs -n "__fish_model_fs_using_subcommand index" -l identity-provider -d 'Who vouches for the identity' -r
complete -c model-fs -n "__fish_model_fs_using_subcommand index" -l trust-config -d 'Sigstore\'s keys and certificates, instead of the built-in ones' -r -F
complete -c model-fs -n "__fish_model_fs_using_subcommand index" -l log-file -d 'Append events to FILE [default: stderr; in the background the system log]' -r -F
complete -c model-fs -n "__fish_model_fs_using_subcommand index" -l log-format -d 'Form of events on stderr and in a log file' -r -f -a "text\t'A line for people'
json\t'A line of JSON'"
complete -c model-fs -n "__fish_model_fs_using_subcommand index" -l clean -d 'Remove the tables of earlier releases from the table store, which are no longer believed'
complete -c model-fs -n "__fish_model_fs_using_subcommand index" -s v -l verbose -d 'More log messages (twice: debugging)'
complete -c model-fs -n "__fish_model_fs_using_subcommand index" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c model-fs -n "__fish_model_fs_using_subcommand inspect" -l log-file -d 'Append events to FILE [default: stderr; in the background the system log]' -r -F
complete -c model-fs -n "__fish_model_fs_using_subcommand inspect" -l log-format -d 'Form of events on stderr and in a log file' -r -f -a "text\t'A line for people'
json\t'A line of JSON'"
complete -c model-fs -n "__fish_model_fs_using_subcommand inspect" -l json -d 'Print one JSON document'
complete -c model-fs -n "__fish_model_fs_using_subcommand inspect" -s v -l verbose -d 'More log messages (twice: debugging)'
complete -c model-fs -n "__fish_model_fs_using_subcommand inspect" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c model-fs -n "__fish_model_fs_using_subcommand trust; and not __fish_seen_subcommand_from add list remove distrust help" -l log-file -d 'Append events to FILE [default: stderr; in the background the system log]' -r -F
complete -c model-fs -n "__fish_model_fs_using_subcommand trust; and not __fish_seen_subcommand_from add list remove distrust help" -l log-format -d 'Form of events on stderr and in a log file' -r -f -a "text\t'A line for people'
json\t'A line of JSON'"
complete -c model-fs -n "__fish_model_fs_using_subcommand trust; and not __fish_seen_subcommand_from add list remove distrust help" -s v -l verbose -d 'More log messages (twice: debugging)'
complete -c model-fs -n "__fish_model_fs_using_subcommand trust; and not __fish_seen_subcommand_from add list remove distrust help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c model-fs -n "__fish_model_fs_using_subcommand trust; and not __fish_seen_subcommand_from add list remove distrust help" -f -a "add" -d 'Trust a signer'
complete -c model-fs -n "__fish_model_fs_using_subcommand trust; and not __fish_seen_subcommand_from add list remove distrust help" -f -a "list" -d 'Show who is trusted, and what is hidden'
complete -c model-fs -n "__fish_model_fs_using_subcommand trust; and not __fish_seen_subcommand_from add list remove distrust help" -f -a "remove" -d 'Stop trusting a signer'
complete -c model-fs -n "__fish_model_fs_using_subcommand trust; and not __fish_seen_subcommand_from add list remove distrust help" -f -a "distrust" -d 'Distrust a signer, whatever the system\'s file says of it'
complete -c model-fs -n "__fish_model_fs_using_subcommand trust; and not __fish_seen_subcommand_from add list remove distrust help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c model-fs -n "__fish_model_fs_using_subcommand trust; and __fish_seen_subcommand_from add" -l name -d 'Name of the entry, for `trust remove` [default: made of the key, certificate or identity]' -r
complete -c model-fs -n "__fish_model_fs_using_subcommand trust; and __fish_seen_subcommand_from add" -l model-name -d 'Only for models that the signer calls NAME (repeatable)' -r
complete -c model-fs -n "__fish_model_fs_using_subcommand trust; and __fish_seen_subcommand_from add" -l model-path -d 'Only for models that lie at PATTERN, absolute, with `*` and `**` (repeatable)' -r
complete -c model-fs -n "__fish_model_fs_using_subcommand trust; and __fish_seen_subcommand_from add" -l payload-digest -d 'Only for the statement with this payload digest, as `inspect` shows it: files, names, all that is signed (repeatable)' -r
complete -c model-fs -n "__fish_model_fs_using_subcommand trust; and __fish_seen_subcommand_from add" -l payload-of -d 'The same, of the statement in this signature file or model (repeatable). The file isn\'t verified: look at it with `inspect` first' -r -F
complete -c model-fs -n "__fish_model_fs_using_subcommand trust; and __fish_seen_subcommand_from add" -l root-digest -d 'Only for contents with this root digest (repeatable). It covers neither names, nor which bytes make which file, nor ignored paths and links: prefer --payload-digest' -r
complete -c model-fs -n "__fish_model_fs_using_subcommand trust; and __fish_seen_subcommand_from add" -l valid-at -d 'Judge the certificates as of DATE, a day of the past (its first second in UTC) or a date and time with an offset, and not as of now. Nothing shows that a signature was made by then: prefer --payload-of, with which certificates may have expired as well' -r
complete -c model-fs -n "__fish_model_fs_using_subcommand trust; and __fish_seen_subcommand_from add" -l public-key -d 'Trust signatures by this key' -r -F
complete -c model-fs -n "__fish_model_fs_using_subcommand trust; and __fish_seen_subcommand_from add" -l certificate-chain -d 'Trust signatures by certificates under these CA certificates' -r -F
complete -c model-fs -n "__fish_model_fs_using_subcommand trust; and __fish_seen_subcommand_from add" -l identity -d 'Trust Sigstore signatures by this identity' -r
complete -c model-fs -n "__fish_model_fs_using_subcommand trust; and __fish_seen_subcommand_from add" -l identity-provider -d 'Who vouches for the identity' -r
complete -c model-fs -n "__fish_model_fs_using_subcommand trust; and __fish_seen_subcommand_from add" -l trust-config -d 'Sigstore\'s keys and certificates, instead of the built-in ones' -r -F
complete -c model-fs -n "__fish_model_fs_using_subcommand trust; and __fish_seen_subcommand_from add" -l log-file -d 'Append events to FILE [default: stderr; in the background the system log]' -r -F
complete -c model-fs -n "__fish_model_fs_using_subcommand trust; and __fish_seen_subcommand_from add" -l log-format -d 'Form of events on stderr and in a log file' -r -f -a "text\t'A line for people'
json\t'A line of JSON'"
complete -c model-fs -n "__fish_model_fs_using_subcommand trust; and __fish_seen_subcommand_from add" -l system -d 'Change what everybody on this host trusts, not what you do'
complete -c model-fs -n "__fish_model_fs_using_subcommand trust; and __fish_seen_subcommand_from add" -s v -l verbose -d 'More log messages (twice: debugging)'
complete -c model-fs -n "__fish_model_fs_using_subcommand trust; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c model-fs -n "__fish_model_fs_using_subcommand trust; and __fish_seen_subcommand_from list" -l log-file -d 'Append events to FILE [default: stderr; in the background the system log]' -r -F
complete -c model-fs -n "__fish_model_fs_using_subcommand trust; and __fish_seen_subcommand_from list" -l log-format -d 'Form of events on stderr and in a log file' -r -f -a "text\t'A line for people'
json\t'A line of JSON'"
complete -c model-fs -n "__fish_model_fs_using_subcommand trust; and __fish_seen_subcommand_from list" -l json -d 'Print one JSON document'
complete -c model-fs -n "__fish_model_fs_using_subcommand trust; and __fish_seen_subcommand_from list" -s v -l verbose -d 'More log messages (twice: debugging)'
complete -c model-fs -n "__fish_model_fs_using_subcommand trust; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c model-fs -n "__fish_model_fs_using_subcommand trust; and __fish_seen_subcommand_from remove" -l log-file -d 'Append events to FILE [default: stderr; in the background the system log]' -r -F
complete -c model-fs -n "__fish_model_fs_using_subcommand trust; and __fish_seen_subcommand_from remove" -l log-format -d 'Form of events on stderr and in a log file' -r -f -a "text\t'A line for people'
json\t'A line of JSON'"
complete -c model-fs -n "__fish_model_fs_using_subcommand trust; and __fish_seen_subcommand_from remove" -l force -d 'Remove it though the system\'s entry of that name will count again'
complete -c model-fs -n "__fish_model_fs_using_subcommand trust; and __fish_seen_subcommand_from remove" -l system -d 'Change what everybody on this host trusts, not what you do'
complete -c model-fs -n "__fish_model_fs_using_subcommand trust; and __fish_seen_subcommand_from remove" -s v -l verbose -d 'More log messages (twice: debugging)'
complete -c model-fs -n "__fish_model_fs_using_subcommand trust; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c model-fs -n "__fish_model_fs_using_subcommand trust; and __fish_seen_subcommand_from distrust" -l log-file -d 'Append events to FILE [default: stderr; in the background the system log]' -r -F
complete -c model-fs -n "__fish_model_fs_using_subcommand trust; and __fish_seen_subcommand_from distrust" -l log-format -d 'Form of events on stderr and in a log file' -r -f -a "text\t'A line for people'
json\t'A line of JSON'"
complete -c model-fs -n "__fish_model_fs_using_subcommand trust; and __fish_seen_subcommand_from distrust" -s v -l verbose -d 'More log messages (twice: debugging)'
complete -c model-fs -n "__fish_model_fs_using_subcommand trust; and __fish_seen_subcommand_from distrust" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c model-fs -n "__fish_model_fs_using_subcommand trust; and __fish_seen_subcommand_from help" -f -a "add" -d 'Trust a signer'
complete -c model-fs -n "__fish_model_fs_using_subcommand trust; and __fish_seen_subcommand_from help" -f -a "list" -d 'Show who is trusted, and what is hidden'
complete -c model-fs -n "__fish_model_fs_using_subcommand trust; and __fish_seen_subcommand_from help" -f -a "remove" -d 'Stop trusting a signer'
complete -c model-fs -n "__fish_model_fs_using_subcommand trust; and __fish_seen_subcommand_from help" -f -a "distrust" -d 'Distrust a signer, whatever the system\'s file says of it'
complete -c model-fs -n "__fish_model_fs_using_subcommand trust; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c model-fs -n "__fish_model_fs_using_subcommand demo" -l log-file -d 'Append events to FILE [default: stderr; in the background the system log]' -r -F
complete -c model-fs -n "__fish_model_fs_using_subcommand demo" -l log-format -d 'Form of events on stderr and in a log file' -r -f -a "text\t'A line for people'
json\t'A line of JSON'"
complete -c model-fs -n "__fish_model_fs_using_subcommand demo" -s v -l verbose -d 'More log messages (twice: debugging)'
complete -c model-fs -n "__fish_model_fs_using_subcommand demo" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c model-fs -n "__fish_model_fs_using_subcommand help; and not __fish_seen_subcommand_from mount umount upgrade status warm attest verify sign index inspect trust demo help" -f -a "mount" -d 'Mount a signed model read-only; check it as it is read'
complete -c model-fs -n "__fish_model_fs_using_subcommand help; and not __fish_seen_subcommand_from mount umount upgrade status warm attest verify sign index inspect trust demo help" -f -a "umount" -d 'Unmount a model'
complete -c model-fs -n "__fish_model_fs_using_subcommand help; and not __fish_seen_subcommand_from mount umount upgrade status warm attest verify sign index inspect trust demo help" -f -a "upgrade" -d 'Have a mount served by this program as it is installed now, while it is in use'
complete -c model-fs -n "__fish_model_fs_using_subcommand help; and not __fish_seen_subcommand_from mount umount upgrade status warm attest verify sign index inspect trust demo help" -f -a "status" -d 'Show what a mount has done and seen'
complete -c model-fs -n "__fish_model_fs_using_subcommand help; and not __fish_seen_subcommand_from mount umount upgrade status warm attest verify sign index inspect trust demo help" -f -a "warm" -d 'Read a mounted model, so that others find it in memory'
complete -c model-fs -n "__fish_model_fs_using_subcommand help; and not __fish_seen_subcommand_from mount umount upgrade status warm attest verify sign index inspect trust demo help" -f -a "attest" -d 'State what a mount has served and verified, signed with a key of this host'
complete -c model-fs -n "__fish_model_fs_using_subcommand help; and not __fish_seen_subcommand_from mount umount upgrade status warm attest verify sign index inspect trust demo help" -f -a "verify" -d 'Check a model, all of it, now'
complete -c model-fs -n "__fish_model_fs_using_subcommand help; and not __fish_seen_subcommand_from mount umount upgrade status warm attest verify sign index inspect trust demo help" -f -a "sign" -d 'Sign a model'
complete -c model-fs -n "__fish_model_fs_using_subcommand help; and not __fish_seen_subcommand_from mount umount upgrade status warm attest verify sign index inspect trust demo help" -f -a "index" -d 'Prepare a model so that mounting it reads nothing but what is asked for'
complete -c model-fs -n "__fish_model_fs_using_subcommand help; and not __fish_seen_subcommand_from mount umount upgrade status warm attest verify sign index inspect trust demo help" -f -a "inspect" -d 'Show what a signature says, without verifying anything'
complete -c model-fs -n "__fish_model_fs_using_subcommand help; and not __fish_seen_subcommand_from mount umount upgrade status warm attest verify sign index inspect trust demo help" -f -a "trust" -d 'Manage trusted signers'
complete -c model-fs -n "__fish_model_fs_using_subcommand help; and not __fish_seen_subcommand_from mount umount upgrade status warm attest verify sign index inspect trust demo help" -f -a "demo" -d 'Show the whole story on a throw-away model'
complete -c model-fs -n "__fish_model_fs_using_subcommand help; and not __fish_seen_subcommand_from mount umount upgrade status warm attest verify sign index inspect trust demo help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c model-fs -n "__fish_model_fs_using_subcommand help; and __fish_seen_subcommand_from trust" -f -a "add" -d 'Trust a signer'
complete -c model-fs -n "__fish_model_fs_using_subcommand help; and __fish_seen_subcommand_from trust" -f -a "list" -d 'Show who is trusted, and what is hidden'
complete -c model-fs -n "__fish_model_fs_using_subcommand help; and __fish_seen_subcommand_from trust" -f -a "remove" -d 'Stop trusting a signer'
complete -c model-fs -n "__fish_model_fs_using_subcommand help; and __fish_seen_subcommand_from trust" -f -a "distrust" -d 'Distrust a signer, whatever the system\'s file says of it'
