"""What tests share: servers, stores, pictures and daemons to try things on. No tests here."""
