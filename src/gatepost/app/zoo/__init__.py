"""The zoo: broken mail domains, one for each case, offline, with the outcome that each has to have.

    table/       the inhabitants and what is to come of mail for each, as data; the docs print it
    ca           an authority that makes good certificates and bad ones
    certificates what each inhabitant shows, by name of a recipe
    dnssec       signing of zones, and denial of what is not there
    zones        the zones of the zoo, made of the table
    nameserver   answers for them, and misbehaves where the table says so
    unbound      the validating resolver in front of them
    hosts        the SMTP servers, one address each; behaviours, flights: what they do
    policies     the web server of the MTA-STS policies
    needs        programs of others, and their packages
    namespace    a network of its own for all of it, inside this machine
    stage        the gateway that lives there, and its configuration for each column
    check        sends to everybody and compares; screen tells; visit  one run of all of it

Nothing of this is loaded before `gatepost zoo` is called.
"""
