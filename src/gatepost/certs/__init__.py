"""Certificates' lives: profiles over the store, made, imported, listed and judged for people.

    usage        which part of the configuration uses which profile
    making       a new profile: self-signed, or imported from PEM, DER, PKCS#7 or PKCS#12; an authority's answer, read
    lifecycle    a profile signed, given other intermediates, a second certificate; by_hand  renewed without automation
    findings     what is to be said of a profile: expired, self-signed, missing intermediate …
    chains       the right bundle for a stored profile, from what all profiles know
    host_names   the names that a certificate should carry (R3)
    inventory    profiles in and out of the store, and the entry that a list shows; pages  one profile's own page
    renewal      when an automatic certificate is ordered, and why; renewing  that it is, and what became of it
    ordering     account and order at an authority (acme); acme_vault  what is kept of it; order_challenges  ports and records
    dane         TLSA records of our services: which, where, of what; dane_report  the same in sentences
    dane_view    the zone as its servers show it; dane_time  since when, and what may be served; dane_watch  what is published
    dane_guard, dane_gate  a certificate that is installed, or was issued, before its record is out
    authorities  the system's list of roots and the custom one (R11)
    authority_checks  what an import of authorities takes and leaves out
    crls, crl_download  revocation lists: taken in, due, in force; and fetched
    times        how the JSON writes a moment

The cryptography is `pki`'s, the versions are `store`'s; here is what a certificate means to an administrator.
"""
