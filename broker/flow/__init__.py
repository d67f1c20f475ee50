"""What has this transaction read and done?"""
