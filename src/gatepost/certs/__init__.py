"""Certificates' lives: profiles over the store, made, imported, listed and judged for people.

    usage        which part of the configuration uses which profile
    making       a new profile: self-signed, or imported from PEM, DER, PKCS#7 or PKCS#12
    findings     what is to be said of a profile: expired, self-signed, missing intermediate …
    inventory    profiles in and out of the store, and the entry that lists and pages show
    authorities  the system's list of roots and the custom one (R11)
    times        how the JSON writes a moment

The cryptography is `pki`'s, the versions are `store`'s; here is what a certificate means to an administrator.
"""
