"""`cutover status`: the whole fleet and what comes next, in one screen."""
