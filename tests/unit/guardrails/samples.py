"""Secrets that nobody has, put together here so that no scanner takes this file for a leak."""

GITHUB = "ghp" + "_" + "eKOmXRrvftva9AW7hipTgadDZFlRJmCGmUXi"
AWS = "AKIA" + "454ML6LG4TJFCZ4K"
STRIPE = "sk" + "_live_" + "FXNQ6Fq5axtjRNmHkW5vQ7CF"
ANTHROPIC = "sk-" + "ant-api03-" + "OyBymrEqlHXm31qzZcmzTUoRyj9nde9syxoAwuKmhr7jmPY72T3AVbfz"
SLACK = "xoxb" + "-467300245892-152758929007-" + "6wSt9cbMOeEeUtuieeCIxVc5"
TELEGRAM = "4880292032" + ":AA" + "qkTIm97kMcy1yl4Ae0_uNONZjN7iUjrnY"
PASSWORD = "9Q0bZOFcHQyRN4"
JWT = "eyJ" + "hbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiI0NTM2OTI4MTY4In0.BpYconEG4ZgzWbmHGJR1m4jfXuX8v_h2"
_KIND = "OPENSSH " + "PRIVATE KEY"
PRIVATE_KEY = (
    f"-----BEGIN {_KIND}-----\n"
    "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gt\n"
    "ZWQyNTUxOQAAACDqN4Yf0JqLb1hV0VhDqE1pI9Wm2XbGmK3o0xqV0S6mJwAAAJgTt1Lu\n"
    f"-----END {_KIND}-----"
)

TOKENS = {
    "github-token": GITHUB,
    "aws-access-token": AWS,
    "stripe-access-token": STRIPE,
    "anthropic-key": ANTHROPIC,
    "slack-bot-token": SLACK,
    "telegram-bot-token": TELEGRAM,
    "private-key": PRIVATE_KEY,
}
