"""What the reproductions of papers share: pages written once as markdown, charts, claims, and what a killed run keeps."""
