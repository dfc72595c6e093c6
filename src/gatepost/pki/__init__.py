"""Certificates, keys and chains as values: bytes in, values out.

Nothing here reads a file, the clock or the network; time is an argument. What comes in is hostile:
a certificate of a peer, a file that an administrator was sent. So parsing has bounds, what cannot be parsed
is a finding or a `PkiError` with a sentence, and text out of a certificate is escaped before anyone sees it.

    keys         private keys: made, loaded, compared; `SecretBytes`
    certificate  one certificate read once; the texts that logs and pages show
    names        which reference name a certificate is valid for (RFC 9525)
    anchors      a list of trusted roots as an immutable value
    judge        the one judgement of a chain, used by delivery, tester and doctor alike
    doctor       what is wrong with a chain, what peers see of it, and the right bundle; troubleshooting asks why
    routes       all ways up to a root, for the doctor; untidy, leaf and lifetimes hold its other questions
    bundle       PEM, DER and PKCS#7 in any order; pkcs12 the same for PKCS#12
    selfsigned   self-signed certificates and signing requests
    profile      a named certificate with its key, chain and history
"""
