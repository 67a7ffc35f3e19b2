"""What people look at: each page is one HTML file that needs nothing but a browser."""
