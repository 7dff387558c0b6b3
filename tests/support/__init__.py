"""What tests share: a real server, and an auditor that trusts no code of ours."""
