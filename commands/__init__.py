"""What may be asked, and when is the answer no?"""
