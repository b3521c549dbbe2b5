"""What only the rehearsal needs: signing in, slow answers, accounts."""
